//! What the columns mean, as a JSON Schema.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::Record;

/// The JSON Schema of a line of [`JsonLines`](super::JsonLines), and so of every format's
/// columns.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Record>()
}

/// [`schema()`] as text, with the columns in their order.
pub fn schema_text() -> String {
    let schema = schema();
    let schema = schema.as_object().expect("a record's schema");
    let text = serde_json::to_string_pretty(&Ordered(schema)).expect("plain data");
    text + "\n"
}

/// The schema, which is written in the order of its columns and not of the alphabet.
struct Ordered<'s>(&'s Map<String, Value>);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let first = ["$schema", "title", "description", "type", "properties"];
        let others = self.0.keys().map(String::as_str);
        let others = others.filter(|key| !first.contains(key));
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for key in first.into_iter().chain(others) {
            match &self.0[key] {
                Value::Object(columns) if key == "properties" => {
                    map.serialize_entry(key, &Columns(columns))?;
                }
                value => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

struct Columns<'s>(&'s Map<String, Value>);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = Record::COLUMNS.iter().map(|column| column.name);
        serializer.collect_map(columns.map(|name| (name, &self.0[name])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_described_in_their_order() {
        let text = schema_text();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed, schema().to_value());
        let at = |name: &str| text.find(&format!("\n    \"{name}\": {{")).unwrap();
        let places: Vec<usize> = Record::COLUMNS.iter().map(|c| at(c.name)).collect();
        assert!(places.is_sorted(), "{text}");
    }
}
