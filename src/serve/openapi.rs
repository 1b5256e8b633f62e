//! The API, described for programs (OpenAPI 3.1). What requests hold is read from their types.

use schemars::schema_for;
use serde_json::{Value, json};

use super::{MapAsk, TokensAsk, TryAsk, VERSION};

/// Paths under which something is asked, with what each does and what its answer's lines are.
const ASKED: [(&str, &str, &str, &str); 4] = [
    (
        "/v1/tokens",
        "TokensAsk",
        "The tokens of a prompt",
        "token: position, id, text, prior, selected",
    ),
    (
        "/v1/try",
        "TryAsk",
        "A prompt, clean and manipulated at each layer",
        "meta: tokens, layers, runs, command (midlayer try with the same numbers); cell: a line of midlayer try -o json, the clean run first; noise: what rounding does to the clean run",
    ),
    (
        "/v1/map",
        "MapAsk",
        "A number for each state of a prompt, or with lens what the head says of it",
        "meta: command (midlayer map with the same numbers); progress: done, all; state: a line of midlayer map -o json",
    ),
    (
        "/v1/generate",
        "TryAsk",
        "A prompt continued, clean and manipulated by a single run",
        "meta; text: run, step, id, text, differs (the first token that is another than the clean run's)",
    ),
];

/// The description.
pub fn description() -> Value {
    let mut paths = json!({
        "/v1/model": { "get": {
            "summary": "The models, and what can be done to their states",
            "responses": { "200": { "description": "state is loading, or ready with all else: model, layers and vocabulary of the first model; manipulations; models, a list with number, name, state (loading, ready, failed), layers, vocabulary, quantization, cache_type_k, cache_type_v" } },
        }},
    });
    for (path, schema, summary, lines) in ASKED {
        let of = format!("#/components/schemas/{schema}");
        let lines = format!("Lines of JSON, each with a type: {lines}. The last is done or error.");
        paths[path] = json!({ "post": {
            "summary": summary,
            "requestBody": {
                "required": true,
                "content": { "application/json": { "schema": { "$ref": of } } },
            },
            "responses": {
                "200": { "description": lines, "content": { "application/x-ndjson": {} } },
                "400": { "description": "An error: what is asked for is wrong" },
                "409": { "description": "An error: the same page asked for something else" },
                "503": { "description": "An error: the model that is named is still loading; Retry-After says when to ask again" },
                "429": { "description": "An error: busy; Retry-After says when to ask again" },
            },
        }});
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "midlayer serve", "version": VERSION.to_string() },
        "paths": paths,
        "components": { "schemas": {
            "MapAsk": schema_for!(MapAsk),
            "TokensAsk": schema_for!(TokensAsk),
            "TryAsk": schema_for!(TryAsk),
        }},
    })
}
