//! The API, described for programs (OpenAPI 3.1). What requests hold is read from their types.

use schemars::schema_for;
use serde_json::{Value, json};

use super::{MapAsk, OpenAsk, TokensAsk, TryAsk, VERSION};

/// Paths under which something is asked, with what each does and what its answer's lines are.
const ASKED: [(&str, &str, &str, &str); 6] = [
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
        "meta: tokens, layers, runs, command (midlayer try with the same numbers), python (the same in Python); cell: a line of midlayer try -o json, the clean run first; noise: what rounding does to the clean run",
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
    (
        "/v1/plan",
        "TryAsk",
        "The plan of a single run",
        "meta; plan: text (what midlayer try --save-plan writes)",
    ),
    (
        "/v1/open",
        "OpenAsk",
        "What a result of a stored run asked, for /v1/try",
        "model: name (the one that it fits); asked: prompt, manipulate, tokens, extent, site, answer, inject_from, inject_at, inject_from_at",
    ),
];

/// Paths of stored runs, with what each is, and what its query may hold.
const STORED: [(&str, &str, &str, &[&str]); 5] = [
    (
        "/v1/runs",
        "All runs",
        "runs: id, name, begun, models, tasks, manipulations, stored, all, complete, worked_on_by, seen_seconds_ago; or error",
        &[],
    ),
    (
        "/v1/runs/{id}",
        "A run's progress and curves, also while it grows",
        "what the list has, with command, report (its address), and variants: label, model, n_layer, items, results, tasks with clean, floor and curves of points (layer, score, low, high, n)",
        &[],
    ),
    (
        "/v1/runs/{id}/report",
        "Its report, the page of midlayer report",
        "HTML",
        &["key"],
    ),
    (
        "/v1/runs/{id}/items",
        "Items of a variant, 50 at once",
        "all, from, items: number, task, name, title, prompt, answer, donor, modified_answer",
        &["variant", "from"],
    ),
    (
        "/v1/runs/{id}/items/{number}",
        "An item with its results",
        "the item, with rows: manipulation, layer, seed, score, correct, modified_correct, answer, logprob, rank, kl",
        &["variant"],
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
    for (path, summary, answer, query) in STORED {
        let of_path = path.split('/').filter_map(|part| part.strip_prefix('{'));
        let of_path = of_path.map(|name| (name.trim_end_matches('}'), "path"));
        let of_query = query.iter().map(|name| (*name, "query"));
        let parameters = of_path.chain(of_query).map(|(name, place)| {
            let schema = json!({"type": "string"});
            json!({"name": name, "in": place, "required": place == "path", "schema": schema})
        });
        paths[path] = json!({ "get": {
            "summary": summary,
            "parameters": parameters.collect::<Vec<_>>(),
            "responses": {
                "200": { "description": answer },
                "404": { "description": "An error: there is none, or no runs are served" },
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
            "OpenAsk": schema_for!(OpenAsk),
            "TokensAsk": schema_for!(TokensAsk),
            "TryAsk": schema_for!(TryAsk),
        }},
    })
}
