//! What templates written for Python expect beyond Jinja: methods of strings, dicts and lists,
//! and `json.dumps`.

use std::fmt::Write;

use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// Methods of Python's types that minijinja's own compatibility layer lacks, then that.
pub(super) fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str()
        && let Some(made) = of_text(text, name, arguments)?
    {
        return Ok(made);
    }
    if value.kind() == ValueKind::Seq && name == "index" {
        let (what,): (&Value,) = from_args(arguments)?;
        let at = value.try_iter()?.position(|item| item == *what);
        return at
            .map(Value::from)
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the list does not hold it"));
    }
    pycompat::unknown_method_callback(state, value, name, arguments)
}

fn of_text(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let made = match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            let last = name == "rpartition";
            let found = if last {
                text.rsplit_once(separator)
            } else {
                text.split_once(separator)
            };
            let parts = match found {
                Some((before, after)) => [before, separator, after],
                None if last => ["", "", text],
                None => [text, "", ""],
            };
            Value::from(parts.map(Value::from).to_vec())
        }
        "rsplit" => {
            let (separator, most): (&str, Option<usize>) = from_args(arguments)?;
            let mut parts: Vec<Value> = match most {
                Some(most) => text.rsplitn(most + 1, separator).map(Value::from).collect(),
                None => text.rsplit(separator).map(Value::from).collect(),
            };
            parts.reverse();
            Value::from(parts)
        }
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(arguments)?;
            let found = if name == "index" {
                text.find(part)
            } else {
                text.rfind(part)
            };
            let at = found.map(|at| text[..at].chars().count());
            let missing = || Error::new(ErrorKind::InvalidOperation, "substring not found");
            Value::from(at.ok_or_else(missing)?)
        }
        "title" => {
            let () = from_args(arguments)?;
            Value::from(title(text))
        }
        "zfill" => {
            let (width,): (usize,) = from_args(arguments)?;
            Value::from(format!("{text:0>width$}"))
        }
        _ => return Ok(None),
    };
    Ok(Some(made))
}

/// As Python has it: a letter behind anything but a letter is a capital.
fn title(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            made.extend(c.to_lowercase());
        } else {
            made.extend(c.to_uppercase());
        }
        in_word = c.is_alphabetic();
    }
    made
}

/// Whether a value is a function or a macro.
pub(super) fn callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
}

/// Whether a value has a length and is indexed: texts and dicts too, and what is not defined.
pub(super) fn sequence(value: &Value) -> bool {
    use ValueKind::{Map, Seq, String, Undefined};
    matches!(value.kind(), Map | Seq | String | Undefined)
}

/// Whether a value can be gone through: what is not defined can, and none cannot.
pub(super) fn iterable(value: &Value) -> bool {
    sequence(value) || value.kind() == ValueKind::Iterable
}

/// Python's `json.dumps(value, ensure_ascii=False)`, with the options that transformers passes
/// on.
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<bool>,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let given = |name: &str| options.get::<Option<Value>>(name);
    let ascii = match given("ensure_ascii")? {
        Some(value) => value.is_true(),
        None => ensure_ascii.unwrap_or(false),
    };
    let indent = given("indent")?
        .or(indent)
        .filter(|indent| !indent.is_none());
    let indent = indent.map(|indent| match indent.as_str() {
        Some(text) => text.to_string(),
        None => " ".repeat(usize::try_from(indent).unwrap_or(0).min(64)),
    });
    let (mut between, mut colon) = (", ".to_string(), ": ".to_string());
    if indent.is_some() {
        between = ",".to_string();
    }
    if let Some(separators) = given("separators")?.filter(|value| !value.is_none()) {
        between = separators.get_item_by_index(0)?.to_string();
        colon = separators.get_item_by_index(1)?.to_string();
    }
    let sorted = given("sort_keys")?.is_some_and(|value| value.is_true());
    options.assert_all_used()?;
    let mut json = Json {
        text: String::new(),
        ascii,
        indent,
        between,
        colon,
        sorted,
    };
    json.push(value, 0)?;
    Ok(json.text)
}

struct Json {
    text: String,
    ascii: bool,
    indent: Option<String>,
    between: String,
    colon: String,
    sorted: bool,
}

/// Deeper than any template goes by itself.
const DEEPEST: usize = 200;

impl Json {
    fn push(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let wrong = |what: &str| {
            let reason = format!("{what} is not JSON serializable");
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        };
        if depth > DEEPEST {
            return wrong("a value nested this deep");
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self
                .text
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => write!(self.text, "{value}").expect("writing to a String"),
            ValueKind::String => self.push_text(value.as_str().unwrap_or_default()),
            ValueKind::Seq => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.push_all(['[', ']'], &items, depth, |json, item, depth| {
                    json.push(item, depth)
                })?;
            }
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for key in value.try_iter()? {
                    let name = match key.kind() {
                        ValueKind::String | ValueKind::Number => key.to_string(),
                        ValueKind::Bool if key.is_true() => "true".into(),
                        ValueKind::Bool => "false".into(),
                        ValueKind::None => "null".into(),
                        kind => return wrong(&format!("a key of kind {kind}")),
                    };
                    pairs.push((name, value.get_item(&key)?));
                }
                if self.sorted {
                    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.push_all(['{', '}'], &pairs, depth, |json, (name, value), depth| {
                    json.push_text(name);
                    let colon = json.colon.clone();
                    json.text.push_str(&colon);
                    json.push(value, depth)
                })?;
            }
            kind => return wrong(&format!("a value of kind {kind}")),
        }
        Ok(())
    }

    fn push_all<T>(
        &mut self,
        [open, close]: [char; 2],
        items: &[T],
        depth: usize,
        push: impl Fn(&mut Self, &T, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                let between = self.between.clone();
                self.text.push_str(&between);
            }
            self.new_line(depth + 1);
            push(self, item, depth + 1)?;
        }
        if !items.is_empty() {
            self.new_line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            self.text.push_str(&indent.repeat(depth));
        }
    }

    fn push_text(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.text, "\\u{unit:04x}").expect("writing to a String");
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}
