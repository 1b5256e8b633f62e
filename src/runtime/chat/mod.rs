//! Chat templates: a model's own, rendered as Hugging Face transformers renders it (Jinja with
//! `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`, `raise_exception`,
//! `strftime_now` and a `tojson` of its own).

mod date;
mod model;
mod python;

pub use date::ChatDate;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::Text;

/// Why a chat template cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChatError {
    /// The file holds no template.
    #[error("the model has no chat template (tokenizer.chat_template): ask without one (`chat`)")]
    None,
    /// The file holds templates for certain uses, and no general one.
    #[error(
        "the model has no chat template for every use (tokenizer.chat_template), only {0}: ask without one (`chat`)"
    )]
    OnlyNamed(String),
    /// The template raises an exception.
    #[error("the model's chat template refuses the prompt: {0} (`chat`)")]
    Raised(String),
    /// The template is not well formed, or needs what there is not.
    #[error("the model's chat template cannot be rendered: {0} (`chat`)")]
    Failed(String),
    /// The message spells out a special token, and the template changes the message.
    #[error(
        "the prompt spells out {token}, which would be the special token, for the model's chat template changes what it is given: if that is meant, say so (`parse_special`)"
    )]
    SpelledOut {
        /// The special token.
        token: String,
    },
}

/// What a template may ask for beside the messages.
#[derive(Clone, Debug, Default)]
pub struct ChatTokens {
    /// By variable (`bos_token`) the token as the vocabulary spells it.
    pub special: Vec<(&'static str, String)>,
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who says it: `system`, `user`, `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_string(),
            content: content.to_string(),
        }
    }
}

/// A template ready to be rendered.
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: ChatTokens,
}

const NAME: &str = "chat";
/// What a template may do at most, in minijinja's units: one for each instruction and for each
/// 64 bytes made. A page of text takes some thousands.
const FUEL: u64 = 50_000_000;

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`ChatError::Failed`].
    pub fn new(source: &str, tokens: ChatTokens, date: ChatDate) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| failure(&error))?;
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(python::method);
        environment.add_filter("tojson", python::tojson);
        environment.add_test("callable", python::callable);
        environment.add_test("sequence", python::sequence);
        environment.add_test("iterable", python::iterable);
        environment.add_function("raise_exception", raise);
        environment.add_function("strftime_now", move |format: &str| date.formatted(format));
        environment
            .add_template_owned(NAME, python_source(source))
            .map_err(|error| failure(&error))?;
        Ok(Self {
            environment,
            tokens,
        })
    }

    /// The template around messages, up to where the next answer begins.
    ///
    /// # Errors
    /// [`ChatError::Raised`], [`ChatError::Failed`].
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String, ChatError> {
        let messages = messages.iter().map(|message| {
            let pairs = [("role", &message.role), ("content", &message.content)];
            let pairs = pairs.map(|(key, value)| (key, Value::from(value.as_str())));
            Value::from_pairs(pairs)
        });
        let mut variables = vec![
            ("messages", Value::from(messages.collect::<Vec<_>>())),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
        ];
        let tokens = self.tokens.special.iter();
        variables.extend(tokens.map(|(name, token)| (*name, Value::from(token.as_str()))));
        let template = self.environment.get_template(NAME);
        template
            .and_then(|template| template.render(Value::from_pairs(variables)))
            .map_err(|error| failure(&error))
    }

    /// The template around a user's message, its own text as markup and the message as data, or `None` where
    /// the template does something else with the message than to put it, or it without the
    /// space around it, somewhere.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_apart(&self, message: &str) -> Result<Option<Text>, ChatError> {
        let of_user = |message: &str| self.render(&[ChatMessage::new("user", message)]);
        let whole = of_user(message)?;
        // A template that looks into messages may refuse this one.
        let Ok(around) = of_user(STAND_IN) else {
            return Ok(None);
        };
        let shapes = [
            message,
            message.trim(),
            message.trim_start(),
            message.trim_end(),
        ];
        let apart = shapes.into_iter().map(|message| {
            let mut parts = around.split(STAND_IN);
            let first = Text::markup(parts.next().unwrap_or_default());
            parts.fold(first, |text, part| {
                text.with_data(message).with_markup(part)
            })
        });
        Ok(apart.into_iter().find(|text| text.as_str() == whole))
    }
}

/// Stands for a message, and occurs in no template: letters, so that a template takes it for
/// text, between characters for private use.
const STAND_IN: &str = "\u{f8ff}midlayer's message\u{f8ff}";

/// What `raise_exception` was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise(message: &Value) -> Result<Value, Error> {
    let message = message.to_string();
    let error = Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Raised(message)))
}

fn failure(error: &Error) -> ChatError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = source {
        if let Some(Raised(message)) = at.downcast_ref() {
            return ChatError::Raised(message.clone());
        }
        source = at.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatError::Failed("it does not come to an end".into());
    }
    let line = error.line().map(|line| format!("line {line}: "));
    let detail = error.detail().map(|detail| format!(": {detail}"));
    ChatError::Failed(format!(
        "{}{}{}",
        line.unwrap_or_default(),
        error.kind(),
        detail.unwrap_or_default()
    ))
}

/// The template as minijinja takes it: lines end as Jinja makes them end, and `{% generation %}`,
/// a tag of transformers' own that marks what the model says, becomes a block with variables of
/// its own.
fn python_source(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut made = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        made.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inside = &tag[2..end];
        let sign = |c: char| matches!(c, '-' | '+');
        let word = inside.trim_start_matches(sign).trim_end_matches(sign);
        let block = match word.trim() {
            "generation" => Some("with"),
            "endgeneration" => Some("endwith"),
            _ => None,
        };
        made.push_str("{%");
        match block {
            Some(block) => made.push_str(&inside.replace(word.trim(), block)),
            None => made.push_str(inside),
        }
        made.push_str("%}");
        rest = &tag[end + 2..];
    }
    made.push_str(rest);
    made
}
