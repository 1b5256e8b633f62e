//! Stored runs behind the page: listed, followed while they grow, opened, and nothing else of the
//! disk.

mod common;

use common::place::Place;
use common::served::{EXACT, Served, of_type};
use serde_json::{Value, json};

const SWEEP: &str = "--shots 1 --manipulate freeze,inject,zero --layers all --no-selftest";

/// A place with a run of the tiny model, `runs/one`.
fn with_run() -> Place {
    let place = Place::new();
    let line = format!("sweep -m tiny.gguf {EXACT} {SWEEP} --limit 4 --out runs/one");
    place.run(&line).success();
    place
}

fn json_of(served: &Served, path: &str) -> Value {
    let answer = served.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// The id of a run, by its folder's name.
fn id(served: &Served, name: &str) -> String {
    let list = json_of(served, "/v1/runs");
    let runs = list["runs"].as_array().unwrap();
    let run = runs.iter().find(|run| run["name"] == name);
    run.unwrap()["id"].as_str().unwrap().to_string()
}

#[test]
fn runs_are_shown_without_a_model() {
    let place = with_run();
    std::fs::create_dir_all(place.path("runs/bad")).unwrap();
    std::fs::write(place.path("runs/bad/results.sqlite"), "no database").unwrap();
    let rows = place.rows("runs/one");
    let page = std::fs::read_to_string(place.path("runs/one/report.html")).unwrap();
    let served = Served::of(place, "runs");
    let about = json_of(&served, "/v1/model");
    assert_eq!(
        (&about["state"], &about["runs"]),
        (&json!("none"), &json!(true))
    );
    let refused = served.tries(&json!({"prompt": "abc"}));
    assert_eq!((refused.status, &*refused.code()), (409, "no-model"));
    let one = id(&served, "one");
    let list = json_of(&served, "/v1/runs");
    let listed = list["runs"].as_array().unwrap();
    let listed = listed.iter().find(|run| run["name"] == "one").unwrap();
    assert_eq!(listed["stored"], rows.len());
    assert_eq!(listed["complete"], true);
    assert_eq!(listed["tasks"], json!(["capitals"]));
    let run = json_of(&served, &format!("/v1/runs/{one}"));
    let task = &run["variants"][0]["tasks"][0];
    for curve in task["curves"].as_array().unwrap() {
        for point in curve["points"].as_array().unwrap() {
            let own = rows.iter().filter(|row| {
                row.cell.treatment.to_string() == curve["manipulation"].as_str().unwrap()
                    && row.cell.layer == point["layer"].as_u64().map(|n| n as u32)
            });
            let scores: Vec<f64> = own.map(|row| row.score).collect();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            assert!((point["score"].as_f64().unwrap() - mean).abs() < 1e-9);
            assert_eq!(point["n"], scores.len());
        }
    }
    // The report is the one that a sweep writes.
    let report = served.get(run["report"].as_str().unwrap());
    assert_eq!((report.status, report.body), (200, page));
    let policies = report.head.lines();
    let policies: Vec<&str> = policies
        .filter(|l| l.starts_with("content-security"))
        .collect();
    assert_eq!(policies.len(), 1);
    assert!(policies[0].contains("sandbox allow-scripts") && !policies[0].contains("same-origin"));
    let items = json_of(&served, &format!("/v1/runs/{one}/items"));
    assert_eq!(
        (&items["all"], items["items"].as_array().unwrap().len()),
        (&json!(4), 4)
    );
    let beyond = json_of(&served, &format!("/v1/runs/{one}/items?from=4"));
    assert_eq!(beyond["items"], json!([]));
    let item = json_of(&served, &format!("/v1/runs/{one}/items/2"));
    let own = rows
        .iter()
        .filter(|row| *row.item == *item["name"].as_str().unwrap());
    assert_eq!(item["rows"].as_array().unwrap().len(), own.count());
    // Nothing else is reachable, and what cannot be read says so.
    for path in [
        "one",
        "..",
        "%2e%2e",
        "0000000000000000",
        "../tiny.gguf",
        &format!("{one}/../../tiny.gguf"),
        &format!("{one}/report.html"),
        &format!("{one}/items/99"),
        &format!("{one}/items/0?variant=1"),
        &format!("{one}/items?variant=-1"),
        &format!("{one}/results.sqlite"),
    ] {
        assert_eq!(
            served.get(&format!("/v1/runs/{path}")).status,
            404,
            "{path}"
        );
    }
    let bad = id(&served, "bad");
    assert_eq!(served.get(&format!("/v1/runs/{bad}")).status, 500);
    assert_eq!(served.post("/v1/runs", "{}").status, 405);
}

#[test]
fn a_run_is_followed_while_it_grows() {
    let place = Place::new();
    let sweep = |out: &str| {
        let arguments = format!("{EXACT} {SWEEP} --limit 60 --out {out}");
        place.command(&format!("sweep -m tiny.gguf {arguments}"))
    };
    assert!(sweep("alone").output().unwrap().status.success());
    std::fs::create_dir_all(place.path("runs")).unwrap();
    let mut beside = sweep("runs/live").spawn().unwrap();
    let served = Served::of(place, "runs");
    let mut seen: Vec<(u64, u64)> = Vec::new();
    let ended = loop {
        let ended = beside.try_wait().unwrap();
        let list = json_of(&served, "/v1/runs");
        let listed = list["runs"].as_array().unwrap().first().cloned();
        let Some(listed) = listed.filter(|run| run["error"].is_null()) else {
            assert!(ended.is_none(), "{list}");
            continue;
        };
        let answer = served.get(&format!("/v1/runs/{}", listed["id"].as_str().unwrap()));
        // Before its tables are there, there is nothing to read.
        if let Ok(run) = serde_json::from_str::<Value>(&answer.body)
            && answer.status == 200
        {
            let points = run["variants"][0]["tasks"][0]["curves"][0]["points"][0]["n"].as_u64();
            seen.push((run["stored"].as_u64().unwrap(), points.unwrap_or(0)));
        }
        if let Some(ended) = ended {
            break ended;
        }
    };
    assert!(ended.success());
    let last = *seen.last().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    seen.dedup();
    assert!(seen.len() > 2, "it was seen growing: {seen:?}");
    let place = &served.place;
    let (alone, live) = (place.rows("alone"), place.rows("runs/live"));
    assert_eq!(last.0, live.len() as u64);
    // The curve has grown with it, to all items.
    let curve = live.iter().filter(|row| {
        let cell = &row.cell;
        (cell.treatment.to_string(), cell.layer) == ("freeze".into(), Some(1))
    });
    assert_eq!(last.1, curve.count() as u64);
    assert_eq!(alone, live, "who looks on changes nothing");
}

#[test]
fn results_are_asked_again() {
    let place = with_run();
    let served = Served::of(place, &format!("runs -m tiny.gguf {EXACT}"));
    served.loaded();
    let run = id(&served, "one");
    let mut asked = 0;
    for number in 0..4 {
        let item = json_of(&served, &format!("/v1/runs/{run}/items/{number}"));
        for row in item["rows"].as_array().unwrap() {
            let layer = &row["layer"];
            if layer.is_null() || number > 0 && layer != 2 {
                continue;
            }
            let open = json!({"run": run, "item": number, "manipulation": row["manipulation"]});
            let answer = served.post("/v1/open", &open.to_string());
            assert_eq!(answer.status, 200, "{}", answer.body);
            let lines = answer.lines();
            assert_eq!(of_type(&lines, "model")[0]["name"], "tiny.gguf");
            let mut ask = of_type(&lines, "asked").remove(0);
            ask["layers"] = json!(layer.to_string());
            let tried = served.tries(&ask);
            assert_eq!(tried.status, 200, "{ask}: {}", tried.body);
            let cell = of_type(&tried.lines(), "cell").remove(1);
            let apart = |field: &str, value: &Value| {
                let (a, b) = (row[field].as_f64().unwrap(), value.as_f64().unwrap());
                assert!((a - b).abs() < 1e-4, "{field}: {row} {cell}");
            };
            apart("kl", &cell["kl"]);
            apart("logprob", &cell["answers"][0]["logprob"]);
            assert_eq!(row["rank"], cell["answers"][0]["rank"]);
            asked += 1;
        }
    }
    assert!(asked > 12, "{asked}");
    for (open, status) in [
        (json!({"run": "no", "item": 0, "manipulation": "zero"}), 404),
        (json!({"run": run, "item": 9, "manipulation": "zero"}), 404),
        (
            json!({"run": run, "variant": 1, "item": 0, "manipulation": "zero"}),
            404,
        ),
        (json!({"run": run, "item": 0, "manipulation": "clean"}), 400),
        (json!({"run": run, "item": 0, "manipulation": "mean"}), 400),
    ] {
        let answer = served.post("/v1/open", &open.to_string());
        assert_eq!(answer.status, status, "{open}: {}", answer.body);
    }
    // Another model does not fit.
    let other = common::place::recipe();
    let other = midlayer::runtime::Synthetic { seed: 3, ..other };
    let path = served.place.path("other.gguf");
    other.build().unwrap().save(&path).unwrap();
    let line = format!(
        "{} -m {} {EXACT}",
        served.place.path("runs").display(),
        path.display()
    );
    let served = Served::of(Place::new(), &line);
    served.loaded();
    let run = id(&served, "one");
    let open = json!({"run": run, "item": 0, "manipulation": "zero"});
    let answer = served.post("/v1/open", &open.to_string());
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("-m"), "{}", answer.body);
}

#[test]
fn others_need_the_token_for_runs() {
    let served = Served::of(with_run(), "runs --host 0.0.0.0");
    let (_, token) = served.url.split_once("#token=").unwrap();
    let host = format!("Host: {}\r\n", served.host());
    let with = format!("{host}Authorization: Bearer {token}\r\n");
    let get = |path: &str, headers: &str| served.request("GET", path, headers, "");
    assert_eq!(get("/v1/runs", &host).status, 401);
    let list = get("/v1/runs", &with).lines().remove(0);
    let run = list["runs"][0]["id"].as_str().unwrap();
    assert_eq!(get(&format!("/v1/runs/{run}"), &host).status, 401);
    let shown = get(&format!("/v1/runs/{run}"), &with).lines().remove(0);
    let report = shown["report"].as_str().unwrap();
    assert_eq!(
        get(report, &host).status,
        200,
        "a browser shows it by its address"
    );
    let (plain, key) = report.split_once("?key=").unwrap();
    assert_eq!(get(plain, &host).status, 401);
    assert_eq!(get(&format!("{plain}?key="), &host).status, 401);
    // The key opens this report only.
    let others = format!("/v1/runs/0000000000000000/report?key={key}");
    assert_eq!(get(&others, &host).status, 401);
    assert_eq!(get(&format!("/v1/runs/{run}?key={key}"), &host).status, 401);
    let cross = format!("{host}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(get(report, &cross).status, 403);
}
