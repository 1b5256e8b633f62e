//! Small well-formed files, made here.

use std::fs::File;
use std::sync::Arc;

use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

pub fn squad_json() -> Vec<Vec<u8>> {
    vec![
        br#"{"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "A cat sat.",
        "qas": [{"id": "q1", "question": "Who?", "answers": [{"text": "A cat", "answer_start": 0},
        {"text": "cat"}]}, {"id": "q2", "question": "What?", "answers": []}]}]}]}"#
            .to_vec(),
        "\u{feff}{\"data\":[{\"paragraphs\":[{\"context\":\"\u{e9}\",\"qas\":[{\"id\":\"\",\"question\":\"\\u00e9\",\"answers\":[{\"text\":\"\"}]}]}]}]}".into(),
    ]
}

pub fn cnn_lines() -> Vec<Vec<u8>> {
    vec![
        br#"{"id": "a1", "article": "Snow fell. It was cold.", "highlights": "Snow.\nCold."}

{"article": "Rain.", "highlights": "Wet.", "id": 7, "extra": [1, {"a": null}]}
"#
        .to_vec(),
        // A line that does not begin with a byte of its own.
        "{\"article\": \"\u{e9}\", \"highlights\": \"\"}\n\u{1f600}\n".into(),
    ]
}

pub fn cnn_csv() -> Vec<Vec<u8>> {
    vec![
        b"id,article,highlights\na1,\"Snow, \"\"heavy\"\".\nMore.\",\"Snow.\nIce.\"\n,Rain.,Wet.\n"
            .to_vec(),
        b"\xef\xbb\xbfhighlights,article\r\nWet.,Rain.\r\n\"Fog.\",Fog.\r\n".to_vec(),
    ]
}

pub fn own_lines() -> Vec<Vec<u8>> {
    vec![
        br#"{"id": 7, "question": "Hot?", "answer": ["cold", "cool"], "subject": "Hot", "extra": [{}]}

{"prompt": "2 + 2 =", "answer": 4, "choices": ["4", "5"], "foil": "5", "parts": {"sign": "+"}}
{"question": "Up?", "answer": "down", "swap": {"subject": "Left", "answer": ["right"]}}
"#
        .to_vec(),
        "[{\"prompt\": \"\u{e9}\", \"answer\": \"\u{1f600}\"}]".into(),
    ]
}

pub fn own_csv() -> Vec<Vec<u8>> {
    vec![
        b"id,question,answer,subject,swap_subject,swap_answer\n1,Hot?,cold|cool,Hot,Up,down\n,\"a, b\",c,,,\n"
            .to_vec(),
        b"\xef\xbb\xbfprompt,answer,choices\r\nx,y,y|z\r\n".to_vec(),
    ]
}

/// Tiny models of several architectures.
pub fn models() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.gguf");
    [
        Architecture::Llama,
        Architecture::LlamaExperts,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Phi2,
        Architecture::Mamba,
    ]
    .map(|architecture| {
        let recipe = Synthetic {
            n_layer: 2,
            vocabulary: Vocabulary::Bytes,
            ..Synthetic::new(architecture)
        };
        recipe.build().unwrap().save(&path).unwrap();
        std::fs::read(&path).unwrap()
    })
    .to_vec()
}

/// The ways in which a Parquet file may be written.
fn ways() -> Vec<WriterProperties> {
    let zstd = Compression::ZSTD(Default::default());
    let mut ways = Vec::new();
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for dictionary in [true, false] {
                let way = WriterProperties::builder()
                    .set_compression(compression)
                    .set_writer_version(version)
                    .set_dictionary_enabled(dictionary)
                    .set_statistics_enabled(EnabledStatistics::None)
                    .build();
                ways.push(way);
            }
        }
    }
    ways
}

type Writer = SerializedFileWriter<File>;

fn written(schema: &str, fill: impl Fn(&mut Writer)) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.parquet");
    let write = |way| {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(&path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(way)).unwrap();
        fill(&mut writer);
        writer.close().unwrap();
        std::fs::read(&path).unwrap()
    };
    ways().into_iter().map(write).collect()
}

pub fn cnn_parquet() -> Vec<Vec<u8>> {
    let schema = "message schema { optional binary article (UTF8);
        optional binary highlights (UTF8); optional binary id (UTF8); }";
    written(schema, |writer| {
        let mut group = writer.next_row_group().unwrap();
        for texts in [["Snow fell.", "Rain."], ["Snow.", "Wet."], ["a1", "a2"]] {
            let mut column = group.next_column().unwrap().unwrap();
            let values = texts.map(ByteArray::from);
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&[1, 1]), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    })
}

pub fn squad_parquet() -> Vec<Vec<u8>> {
    let schema = "message schema {
        optional binary id (UTF8); optional binary title (UTF8);
        optional binary context (UTF8); optional binary question (UTF8);
        optional group answers {
            optional group text (LIST) { repeated group list { optional binary element (UTF8); } }
            optional group answer_start (LIST) { repeated group list { optional int32 element; } }
        } }";
    written(schema, |writer| {
        let mut group = writer.next_row_group().unwrap();
        for texts in [
            ["q1", "q2"],
            ["T", "T"],
            ["A cat.", "A cat."],
            ["Who?", "What?"],
        ] {
            let mut column = group.next_column().unwrap().unwrap();
            let values = texts.map(ByteArray::from);
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&[1, 1]), None).unwrap();
            column.close().unwrap();
        }
        // Two answers, then an empty list.
        let (present, repeated) = ([4, 4, 2], [0, 1, 0]);
        let mut column = group.next_column().unwrap().unwrap();
        let texts = ["A cat", "cat"].map(ByteArray::from);
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&texts, Some(&present), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<Int32Type>();
        typed
            .write_batch(&[0, 2], Some(&present), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    })
}

/// The published grid, and a small one with an option of every kind.
pub fn configurations() -> Vec<Vec<u8>> {
    let paper = include_str!("../../examples/paper.toml");
    let small = r#"task = ["capitals", "math"]
manipulate = "freeze,random"
layers = "0-3+2"
seed = [1, 2]
limit = { capitals = 3, math = 2 }
chat = ["math"]
shots = 1
flash-attn = "on"
cache-type = ["f16", "q8_0"]
threshold = 0.9
strategy = "straightforward"
"#;
    [paper, small].map(|text| text.as_bytes().to_vec()).into()
}
