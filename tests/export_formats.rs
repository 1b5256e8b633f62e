//! Exporters by themselves: any text survives every format, and the published schema is the
//! record's.

mod common;

use common::exported::{cells, export, read_csv, read_jsonl, read_parquet, read_sql};
use midlayer::export::{
    Csv, EXPORT_VERSION, JsonLines, Markdown, Parquet, Record, Sql, schema, schema_text,
};
use proptest::prelude::*;

#[test]
fn the_published_schema_is_the_records() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/export.schema.json");
    let published: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(
        published,
        schema().to_value(),
        "docs/export.schema.json is stale: midlayer export --schema prints the new one; if a \
         column is another than it was, EXPORT_VERSION goes up"
    );
    let printed: serde_json::Value = serde_json::from_str(&schema_text()).unwrap();
    assert_eq!(published, printed);
    jsonschema::meta::validate(&published).unwrap();
}

#[test]
fn the_schema_refuses_what_is_no_record() {
    let validator = jsonschema::validator_for(&schema().to_value()).unwrap();
    let good = serde_json::to_value(record()).unwrap();
    assert!(validator.is_valid(&good));
    let with = |name: &str, value: serde_json::Value| {
        let mut object = good.clone();
        object[name] = value;
        object
    };
    for bad in [
        with("schema_version", (EXPORT_VERSION + 1).into()),
        with("another", 1.into()),
        with("score", 1.5.into()),
        with("layer", (-1).into()),
        with("answer", serde_json::Value::Null),
        serde_json::json!({}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn no_records_are_an_empty_table() {
    assert!(read_csv(&export(&Csv, &[])).is_empty());
    assert!(read_jsonl(&export(&JsonLines, &[])).is_empty());
    assert!(read_sql(&export(&Sql, &[])).is_empty());
    assert!(read_parquet(&export(&Parquet, &[])).is_empty());
    let markdown = String::from_utf8(export(&Markdown, &[])).unwrap();
    assert_eq!(markdown.lines().count(), 2);
}

#[test]
fn many_records_keep_their_order() {
    let records: Vec<Record<'_>> = (0..70_000)
        .map(|n| Record {
            item: n.to_string().into(),
            layer: (n % 3 > 0).then_some(n),
            ..record()
        })
        .collect();
    // One row group, and one INSERT, is not enough for them.
    let expected = cells(&records);
    assert!(read_parquet(&export(&Parquet, &records)) == expected);
    let records = &records[..1201];
    assert!(read_sql(&export(&Sql, records)) == expected[..1201]);
}

fn record() -> Record<'static> {
    Record {
        schema_version: EXPORT_VERSION,
        rank: 1,
        ..Record::default()
    }
}

/// Text with what formats trip over.
fn any_text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "\"",
        "'",
        "''",
        ",",
        ";",
        "|",
        "\\",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\t",
        "`",
        "<",
        "&",
        "-- ",
        ");",
        "$1",
        "\u{feff}",
        "\u{2028}",
        "é",
        "e\u{301}",
        "日本",
        "👩‍👩‍👧",
        "\u{10ffff}",
        "\u{7f}",
        "NULL",
        "NaN",
        "null",
        " ",
    ]);
    let part =
        prop_oneof![3 => odd.prop_map(String::from), 1 => any::<String>(), 1 => "[a-z]{1,8}"];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn any_record() -> impl Strategy<Value = Record<'static>> {
    // SQLite has no negative zero.
    let real = || prop::option::of(any::<f64>().prop_map(|x| x + 0.0));
    let texts = (any_text(), any_text(), any_text(), any_text());
    let numbers = (real(), real(), prop::option::of(any::<u32>()), 1..=u32::MAX);
    // SQLite's whole numbers have a sign.
    let seed = prop::option::of(0..=i64::MAX.unsigned_abs());
    let flags = (any::<bool>(), prop::option::of(any::<bool>()));
    (texts, numbers, seed, flags).prop_map(|(texts, numbers, seed, flags)| Record {
        run: texts.0.into(),
        item: texts.1.into(),
        answer: texts.2.into(),
        argmax_text: texts.3.into(),
        logprob: numbers.0,
        kl: numbers.1,
        layer: numbers.2,
        rank: numbers.3,
        seed,
        correct: flags.0,
        modified_correct: flags.1,
        ..record()
    })
}

proptest! {
    #[test]
    fn any_text_survives(records in prop::collection::vec(any_record(), 0..12)) {
        let expected = cells(&records);
        prop_assert_eq!(read_csv(&export(&Csv, &records)), expected.clone());
        prop_assert_eq!(read_sql(&export(&Sql, &records)), expected.clone());
        prop_assert_eq!(read_parquet(&export(&Parquet, &records)), expected.clone());
        let lines = export(&JsonLines, &records);
        prop_assert_eq!(cells(&read_jsonl(&lines)), expected);
        let validator = jsonschema::validator_for(&schema().to_value()).unwrap();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = serde_json::from_slice(line).unwrap();
            prop_assert!(validator.is_valid(&line), "{}", line);
        }
        let markdown = String::from_utf8(export(&Markdown, &records)).unwrap();
        for line in markdown.split_terminator('\n') {
            let bars = line.replace(r"\\", "").replace(r"\|", "").matches('|').count();
            prop_assert_eq!(bars, Record::COLUMNS.len() + 1, "{}", line);
        }
    }
}

#[test]
fn seeds_of_64_bits_survive() {
    let records = [Record {
        seed: Some(u64::MAX),
        ..record()
    }];
    let expected = cells(&records);
    assert_eq!(read_csv(&export(&Csv, &records)), expected);
    assert_eq!(read_parquet(&export(&Parquet, &records)), expected);
    assert_eq!(cells(&read_jsonl(&export(&JsonLines, &records))), expected);
}
