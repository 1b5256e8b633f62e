//! The record: what one row says, whatever the format.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EXPORT_VERSION;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text, any at all: line breaks, quotes and NUL too.
    Text,
    /// True or false.
    Flag,
    /// A whole number of 32 bits, 0 or more.
    Whole,
    /// A whole number of 64 bits, 0 or more.
    Seed,
    /// A number of double precision.
    Real,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether it may hold nothing.
    pub nullable: bool,
}

/// What a record holds in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'r> {
    /// Nothing.
    Null,
    /// Text.
    Text(&'r str),
    /// True or false.
    Flag(bool),
    /// A small whole number.
    Whole(u32),
    /// A seed.
    Seed(u64),
    /// A finite number.
    Real(f64),
}

/// As numbers are written in CSV and SQL: the shortest digits that give the same number again.
/// Nothing is empty.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Text(text) => f.write_str(text),
            Value::Flag(flag) => flag.fmt(f),
            Value::Whole(number) => number.fmt(f),
            Value::Seed(number) => number.fmt(f),
            Value::Real(number) => fmt::Debug::fmt(number, f),
        }
    }
}

/// A type of field.
trait Field {
    const KIND: ColumnKind;
    const NULLABLE: bool = false;
    fn value(&self) -> Value<'_>;
}

impl Field for Cow<'_, str> {
    const KIND: ColumnKind = ColumnKind::Text;
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Field for bool {
    const KIND: ColumnKind = ColumnKind::Flag;
    fn value(&self) -> Value<'_> {
        Value::Flag(*self)
    }
}

impl Field for u32 {
    const KIND: ColumnKind = ColumnKind::Whole;
    fn value(&self) -> Value<'_> {
        Value::Whole(*self)
    }
}

impl Field for u64 {
    const KIND: ColumnKind = ColumnKind::Seed;
    fn value(&self) -> Value<'_> {
        Value::Seed(*self)
    }
}

impl Field for f64 {
    const KIND: ColumnKind = ColumnKind::Real;
    const NULLABLE: bool = true;
    /// Formats differ in what they make of other numbers, JSON has none.
    fn value(&self) -> Value<'_> {
        if self.is_finite() {
            Value::Real(*self)
        } else {
            Value::Null
        }
    }
}

impl<T: Field> Field for Option<T> {
    const KIND: ColumnKind = T::KIND;
    const NULLABLE: bool = true;
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::value)
    }
}

/// Declares the record once, as a struct and as columns.
macro_rules! record {
    ($(#[$outer:meta])* pub struct $record:ident<$life:lifetime> {
        $($(#[$meta:meta])* pub $name:ident: $type:ty,)*
    }) => {
        $(#[$outer])*
        pub struct $record<$life> {
            $($(#[$meta])* pub $name: $type,)*
        }

        impl<$life> $record<$life> {
            /// The columns in their order.
            pub const COLUMNS: &'static [Column] = &[$(Column {
                name: stringify!($name),
                kind: <$type as Field>::KIND,
                nullable: <$type as Field>::NULLABLE,
            },)*];

            /// What the record holds, in the order of the columns.
            pub fn values(&self) -> Vec<Value<'_>> {
                vec![$(self.$name.value(),)*]
            }
        }
    };
}

record! {
/// A result of midlayer: one item under one cell (a manipulation at a layer with a seed, or a
/// clean run). Numbers that are not finite are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "midlayer export", extend("additionalProperties" = false))]
pub struct Record<'a> {
    /// Version of these columns.
    #[schemars(extend("const" = EXPORT_VERSION))]
    pub schema_version: u32,
    /// Name of the run's folder.
    pub run: Cow<'a, str>,
    /// Tells runs of the same name apart: from what they depend on and when they were begun.
    pub run_id: Cow<'a, str>,
    /// When the run was begun, UTC, as 2026-01-31T12:00:00Z; empty where that is not known.
    pub started: Cow<'a, str>,
    /// Revisions of midlayer that worked on the run.
    pub revision: Cow<'a, str>,
    /// What tells this model and its settings apart from the run's others.
    pub variant: Cow<'a, str>,
    /// The model: its file's name without the ending.
    pub model: Cow<'a, str>,
    /// SHA-256 of the model's file, hexadecimal.
    pub model_sha256: Cow<'a, str>,
    /// The model's architecture, as llama.
    pub architecture: Cow<'a, str>,
    /// The model's quantization as its file states it, as q8_0.
    pub quantization: Cow<'a, str>,
    /// Layers of the model.
    pub n_layer: u32,
    /// Bits that a weight of the model takes, scales included.
    pub bits_per_weight: Option<f64>,
    /// Type of the K cache, as f16.
    pub cache_k: Cow<'a, str>,
    /// Type of the V cache, as f16.
    pub cache_v: Cow<'a, str>,
    /// How results were computed: planned or straightforward.
    pub strategy: Cow<'a, str>,
    /// Threads.
    pub threads: u32,
    /// Whether tokens after the prompt are manipulated once they are not the last any more.
    pub manipulate_generated: bool,
    /// How many tokens follow the prompt when manipulation begins.
    pub from_step: u32,
    /// What is rewritten: residual, keys, values, or keys+values.
    pub site: Cow<'a, str>,
    /// Which layers, seen from the layer k: paper, from, only or window:N.
    pub extent: Cow<'a, str>,
    /// Which tokens: prior, skip:N or positions.
    pub tokens: Cow<'a, str>,
    /// The task.
    pub task: Cow<'a, str>,
    /// Version of the task's items and prompts.
    pub task_version: u32,
    /// Whether the task's items are the small set written by a language model.
    pub sample: bool,
    /// Items of the task at most.
    pub limit: u32,
    /// Examples before the question, for capitals and math.
    pub shots: u32,
    /// Whether prompts are in the model's chat template.
    pub chat: bool,
    /// The item's name within the task: what tells it apart from others.
    pub item: Cow<'a, str>,
    /// The item's name as people know it: a country, a question; the same as item where it has no other.
    pub item_name: Cow<'a, str>,
    /// The prompt; empty without --prompts.
    pub prompt: Cow<'a, str>,
    /// The right answer.
    pub right_answer: Cow<'a, str>,
    /// The prompt that inject takes states from; empty where there is none, and without
    /// --prompts.
    pub donor_prompt: Cow<'a, str>,
    /// The answer that is right if the model believes the donor; empty where there is no donor.
    pub donor_answer: Cow<'a, str>,
    /// What was done: clean (nothing: what the item's other rows are compared with), clean-again (nothing, in another batch shape: what rounding does), or the manipulation, with its parameters where they are not the defaults, as scale:factor=2.
    pub manipulation: Cow<'a, str>,
    /// The manipulation's layer k, counted from 0; null for clean runs.
    pub layer: Option<u32>,
    /// layer / n_layer; null for clean runs.
    pub depth: Option<f64>,
    /// The manipulation's seed; null where it has none.
    pub seed: Option<u64>,
    /// The task's own metric, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub score: Option<f64>,
    /// The same of the clean run on this item.
    #[schemars(range(min = 0, max = 1))]
    pub clean_score: Option<f64>,
    /// Whether the answer is right to the letter, after normalization.
    pub correct: bool,
    /// Whether the answer is the clean run's.
    pub agrees: bool,
    /// The generated answer; for tasks that do not generate, the likeliest next token.
    pub answer: Cow<'a, str>,
    /// Log-probability of the whole right answer, nats.
    pub logprob: Option<f64>,
    /// Rank of the right answer's first token, 1 is the likeliest.
    #[schemars(range(min = 1))]
    pub rank: u32,
    /// KL divergence from the clean run's next-token distribution, nats.
    pub kl: Option<f64>,
    /// The likeliest next token's text.
    pub argmax_text: Cow<'a, str>,
    /// inject: whether the donor's answer was given; null for all else.
    pub modified_correct: Option<bool>,
    /// inject: log-probability of the donor's answer, nats; null for all else.
    pub modified_logprob: Option<f64>,
    /// Exact match, 0 or 1; null where the task has none, as all metrics.
    #[schemars(range(min = 0, max = 1))]
    pub metric_exact_match: Option<f64>,
    /// F1, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub metric_f1: Option<f64>,
    /// ROUGE-1, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub metric_rouge1: Option<f64>,
    /// ROUGE-2, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub metric_rouge2: Option<f64>,
    /// ROUGE-L, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub metric_rougel: Option<f64>,
    /// ROUGE-Lsum, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub metric_rougelsum: Option<f64>,
    /// What guessing among the item's choices scores; null where answers are free.
    #[schemars(range(min = 0, max = 1))]
    pub metric_chance: Option<f64>,
    /// The logit of the right answer's token less that of the likeliest foil's, at the first token
    /// where they differ, nats; a foil is the donor's answer, another choice, or what the item names.
    pub metric_logit_difference: Option<f64>,
}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Metric;

    #[test]
    fn every_metric_of_a_task_has_its_column() {
        for metric in Metric::ALL {
            for name in metric.score("a", &["a".to_string()]).metrics.keys() {
                let column = format!("metric_{}", name.to_lowercase());
                let known = Record::COLUMNS.iter().any(|c| c.name == column);
                assert!(known, "{metric:?} gives {name}, but there is no {column}");
            }
        }
    }

    #[test]
    fn columns_are_those_that_serde_writes() {
        let json = serde_json::to_string(&Record::default()).unwrap();
        let mut rest = json.as_str();
        for column in Record::COLUMNS {
            let key = format!("\"{}\":", column.name);
            let at = rest
                .find(&key)
                .unwrap_or_else(|| panic!("{key} in its place"));
            rest = &rest[at + key.len()..];
        }
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object.as_object().unwrap().len(), Record::COLUMNS.len());
    }

    #[test]
    fn numbers_that_are_none_are_null() {
        let record = Record {
            kl: Some(f64::INFINITY),
            logprob: Some(f64::NAN),
            score: Some(1e-7),
            ..Record::default()
        };
        let at = |name| {
            let n = Record::COLUMNS.iter().position(|c| c.name == name);
            record.values()[n.unwrap()].to_string()
        };
        assert_eq!(["kl", "logprob", "score"].map(at), ["", "", "1e-7"]);
    }
}
