//! What was used: sums that follow the record.

use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::fake_ollama::{FakeOllama, Script, text};
use crate::support::gateway::{TestGateway, hello};

async fn usage_once(gateway: &TestGateway, token: &str, path: &str, requests: i64) -> Vec<Value> {
    let items = async || {
        let page = gateway.get(path, Some(token)).await.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
        let summed: i64 = items.iter().map(|item| item["requests"].as_i64().unwrap()).sum();
        (summed == requests).then_some(items)
    };
    eventually(&format!("the sums have {requests} requests"), items).await
}

#[actix_web::test]
async fn usage_is_summed_by_person_model_and_hour() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "3")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    for _ in 0..2 {
        gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    }
    fake.next(Script::of(vec![text("x")]));
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let mut other = hello();
    other["model"] = json!("llama3.2");
    gateway.post("/v1/chat/completions", Some(&admin), other).await;

    let by_user = usage_once(&gateway, &admin, "/api/v1/usage", 4).await;
    let by_model = usage_once(&gateway, &admin, "/api/v1/usage?by=model", 4).await;
    let by_hour = usage_once(&gateway, &admin, "/api/v1/usage?by=hour", 4).await;
    let mine = usage_once(&gateway, &ann, "/api/v1/me/usage", 3).await;

    let line = |items: &[Value], key: &str| {
        let item = items.iter().find(|item| item["key"] == key).unwrap_or_else(|| panic!("no {key} in {items:?}"));
        json!([item["requests"], item["failed"], item["refused"], item["prompt_tokens"], item["answer_tokens"]])
    };
    // Twice five tokens of prompt as the model counted them, and one as it was guessed for the answer that broke off.
    assert_eq!(line(&by_user, "ann@example.org"), json!([3, 1, 1, 11, 7]));
    assert_eq!(line(&by_user, "admin"), json!([1, 0, 0, 5, 3]));
    assert_eq!(line(&by_model, "llama3.2:latest"), json!([1, 0, 0, 5, 3]));
    assert!(by_hour.len() <= 2);
    assert_eq!(mine.len(), 1);
    let csv = gateway.get("/api/v1/usage?format=csv", Some(&admin)).await;
    assert!(csv.text().starts_with("\"key\",\"requests\"") && csv.text().contains("\"ann@example.org\",\"3\""));
    for wrong in ["by=year", "format=xml", "from=yesterday", "nonsense=1"] {
        assert_eq!(gateway.get(&format!("/api/v1/usage?{wrong}"), Some(&admin)).await.status, 400, "{wrong}");
    }
    assert_eq!(gateway.get("/api/v1/usage", Some(&ann)).await.status, 403);
    assert_eq!(gateway.get("/api/v1/me/usage?user_id=x", Some(&ann)).await.status, 400);
}

#[actix_web::test]
async fn a_model_has_one_line_and_names_that_no_model_has_share_one() {
    let fake = FakeOllama::start();
    let lifted = [("LIMITS__REQUESTS_PER_MINUTE", "100"), ("ANSWERS__ANSWER_TOKENS_MAX", "10")];
    let gateway = TestGateway::start_with(&fake.url(), &lifted);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let ask = async |model: &str, more: Value| {
        let mut body = hello();
        body["model"] = json!(model);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gateway.post("/v1/chat/completions", Some(&ann), body).await.status
    };
    let too_long = json!({ "messages": [{ "role": "user", "content": "x".repeat((1 << 20) + 1) }] });
    for spelled in ["llama3.2", "llama3.2:latest", "LLAMA3.2:Latest"] {
        assert_eq!(ask(spelled, json!({})).await, 200);
    }
    for number in 0..5 {
        assert_eq!(ask(&format!("junk-{number}"), json!({})).await, 404);
        // Refused before it was looked up.
        assert_eq!(ask(&format!("more-junk-{number}"), too_long.clone()).await, 413);
    }
    assert_eq!(ask("llama3.2", too_long.clone()).await, 413);

    let all_refused = async || {
        let page = gateway.get("/api/v1/me/usage?by=model", Some(&ann)).await.json();
        let told = |item: &Value| json!([item["key"], item["requests"], item["refused"]]);
        let lines: Vec<_> = page["items"].as_array().unwrap().iter().map(told).collect();
        let refused: i64 = lines.iter().filter_map(|line| line[2].as_i64()).sum();
        (refused == 11).then_some(lines)
    };
    let lines = eventually("the sums have 11 refusals", all_refused).await;

    assert_eq!(lines, [json!(["(no model)", 0, 10]), json!(["llama3.2:latest", 3, 1])]);
    let rows = gateway.record(&admin).await;
    let asked: Vec<_> = rows.iter().filter_map(|row| row["model_asked"].as_str()).collect();
    assert!(asked.contains(&"junk-3") && asked.contains(&"more-junk-3") && asked.contains(&"LLAMA3.2:Latest"));
    let served: Vec<_> = rows.iter().filter_map(|row| row["model_served"].as_str()).collect();
    assert_eq!(served, ["llama3.2:latest"; 3]);
}

#[actix_web::test]
async fn usage_by_token_tells_the_pipelines_apart_and_others_tokens_are_not_there() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "3")]);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let make =
        async |jwt: &str, name: &str| gateway.post("/api/v1/tokens", Some(jwt), json!({ "name": name })).await.json();
    let (ci, docs, theirs) = (make(&ann, "ci").await, make(&ann, "docs").await, make(&bob, "ci").await);
    let chat =
        async |token: &Value| gateway.post("/v1/chat/completions", token["token"].as_str(), hello()).await.status;
    assert_eq!((chat(&ci).await, chat(&theirs).await), (200, 200));
    fake.next(Script::of(vec![text("x")]));
    chat(&ci).await;
    assert_eq!((chat(&docs).await, chat(&docs).await), (200, 429));
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    let all = usage_once(&gateway, &admin, "/api/v1/usage?by=token", 5).await;
    let anns = usage_once(&gateway, &ann, "/api/v1/me/usage?by=token", 3).await;
    let one = usage_once(&gateway, &ann, &format!("/api/v1/me/usage?token_id={}", ci["id"].as_str().unwrap()), 2).await;

    let told = |items: &[Value]| {
        let line = |item: &Value| {
            json!([item["key"], item["id"], item["user"], item["requests"], item["failed"], item["refused"]])
        };
        items.iter().map(line).collect::<Vec<_>>()
    };
    let anns_lines =
        [json!(["ci", ci["id"], "ann@example.org", 2, 1, 0]), json!(["docs", docs["id"], "ann@example.org", 1, 0, 1])];
    let (none, bobs) =
        (json!(["(no token)", null, null, 1, 0, 0]), json!(["ci", theirs["id"], "bob@example.org", 1, 0, 0]));
    assert_eq!(told(&all), [none, anns_lines[0].clone(), bobs, anns_lines[1].clone()]);
    assert_eq!(told(&anns), anns_lines);
    assert_eq!((one[0]["key"].as_str(), one[0]["failed"].as_i64()), (Some("ann@example.org"), Some(1)));
    let csv = gateway.get("/api/v1/me/usage?by=token&format=csv", Some(&ann)).await.text();
    assert!(csv.lines().nth(1).unwrap().starts_with("\"ci\",\"2\",\"1\",\"0\","), "{csv}");
    // Bob's token looks to her as one that nobody has.
    let hidden = async |id: &str| {
        let answer = gateway.get(&format!("/api/v1/me/usage?token_id={id}"), Some(&ann)).await;
        (answer.status, answer.text())
    };
    assert_eq!(hidden(theirs["id"].as_str().unwrap()).await, hidden("0123456789").await);
    assert_eq!(hidden("0123456789").await.0, 404);
}

#[actix_web::test]
async fn a_year_of_hours_is_told_and_what_makes_more_lines_is_refused() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.kill();
    // Two quarters in each of 10,001 hours, the first of which began at the epoch.
    gateway.on_the_file(
        "WITH RECURSIVE hours (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM hours WHERE n < 10000) \
         INSERT INTO usage SELECT n * 3600000000 + later, 1, 0, 'm', 1, 0, 0, 2, 3, 4000, 5000 \
         FROM hours, (SELECT 0 AS later UNION ALL SELECT 900000000)",
    );
    gateway.restart();
    let admin = gateway.admin().await;
    let hours = async |to: &str| {
        gateway.get(&format!("/api/v1/usage?by=hour&from=1970-01-01T00:00:00Z&to={to}"), Some(&admin)).await
    };

    let year = hours("1971-01-01T00:00:00Z").await.json();
    let most = hours("1971-02-21T16:00:00Z").await;
    let more = hours("1971-02-21T16:00:00.000001Z").await;

    let items = year["items"].as_array().unwrap();
    assert_eq!(items.len(), 8760);
    assert_eq!(
        json!([items[1]["key"], items[1]["requests"], items[1]["answer_tokens"], items[1]["gpu_ms"]]),
        json!(["1970-01-01T01:00:00Z", 2, 6, 8])
    );
    assert_eq!((most.status, most.json()["items"].as_array().unwrap().len()), (200, 10_000));
    assert_eq!((more.status, &more.json()["error"]["param"]), (400, &json!("from")));
}

#[actix_web::test]
async fn of_more_tokens_than_lines_those_that_were_used_least_are_one_line() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.kill();
    // No token and ten thousand tokens, each of them once, but for the last one.
    gateway.on_the_file(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) \
         INSERT INTO usage SELECT 0, 1, n, 'm', CASE n WHEN 10000 THEN 5 ELSE 1 END, 0, 0, 2, 3, 4000, 5000 FROM numbers",
    );
    gateway.restart();
    let admin = gateway.admin().await;
    let path = "/api/v1/usage?by=token&from=1970-01-01T00:00:00Z&to=1971-01-01T00:00:00Z";

    let page = gateway.get(path, Some(&admin)).await.json();

    let items = page["items"].as_array().unwrap();
    let last = items.last().unwrap();
    let told = json!([last["key"], last["requests"], last["prompt_tokens"], last["gpu_ms"]]);
    assert_eq!((items.len(), told), (10_000, json!(["(others)", 2, 4, 8])));
    assert_eq!(items.iter().map(|item| item["requests"].as_i64().unwrap()).sum::<i64>(), 10_005);
    assert!(items.iter().any(|item| item["requests"] == 5));
    let fewer = gateway.get(&format!("{path}&user_id={}", gateway.id_of(&admin, "admin").await), Some(&admin)).await;
    assert_eq!(fewer.json()["items"].as_array().unwrap().len(), 10_000, "the same for one person");
}

#[actix_web::test]
async fn days_are_those_of_the_zone_and_two_keys_make_a_line_for_each_of_both() {
    let zone = [("TIMEZONE", "Europe/Berlin")];
    let mut gateway = TestGateway::start_with("http://127.0.0.1:1", &zone);
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let ann = gateway.id_of(&admin, "ann").await;
    gateway.kill();
    // The last quarter of the 14th in Berlin, the first of the 15th, and noon.
    gateway.on_the_file(
        "INSERT INTO usage SELECT strftime('%s', at) * 1000000, (SELECT id FROM users WHERE username = name), 0, 'm', \
         requests, 0, 0, tokens, 0, gpu * 1000000, 0 FROM (\
         SELECT '2026-01-14T22:45:00' AS at, 'admin' AS name, 1 AS requests, 7 AS tokens, 5 AS gpu \
         UNION ALL SELECT '2026-01-14T23:00:00', 'admin', 2, 7, 1 \
         UNION ALL SELECT '2026-01-15T11:00:00', 'ann@example.org', 1, 20, 30)",
    );
    gateway.restart();
    let time = "from=2026-01-13T23:00:00Z&to=2026-01-16T00:00:00Z";
    let usage = async |query: &str| gateway.get(&format!("/api/v1/usage?{time}&{query}"), Some(&admin)).await;
    let told = async |query: &str| {
        let page = usage(query).await.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
        items.iter().map(|item| json!([item["key"], item["when"], item["requests"], item["gpu_ms"]])).collect::<Value>()
    };

    let days = usage("by=day").await.json();

    assert_eq!(days["items"][0]["begins_at"], "2026-01-13T23:00:00Z");
    assert_eq!(told("by=day").await, json!([["2026-01-14", null, 1, 5000], ["2026-01-15", null, 3, 31000]]));
    assert_eq!(told("by=day&sort=gpu").await[0][0], "2026-01-15");
    let of_ann = json!(["ann@example.org", "2026-01-15", 1, 30000]);
    let of_admin = [json!(["admin", "2026-01-14", 1, 5000]), json!(["admin", "2026-01-15", 2, 1000])];
    assert_eq!(told("by=user,day").await, json!([of_admin[0], of_admin[1], of_ann]));
    assert_eq!(told("by=user,day&sort=gpu").await, json!([of_ann, of_admin[0], of_admin[1]]));
    assert_eq!(told("by=user,day&sort=requests").await, json!([of_admin[0], of_admin[1], of_ann]));
    assert_eq!(usage("by=user,day&sort=tokens").await.json()["items"][0]["id"], json!(ann));
    assert_eq!(told("by=user&sort=gpu").await[0][0], "ann@example.org");
    assert_eq!(told("by=user&sort=requests").await[0][0], "admin");
    let hours = told("by=user,hour").await;
    assert_eq!((&hours[0][1], &hours[1][1]), (&json!("2026-01-14T22:00:00Z"), &json!("2026-01-14T23:00:00Z")));
    assert_eq!(told(&format!("by=model,day&user_id={ann}")).await, json!([["m", "2026-01-15", 1, 30000]]));
    assert!(usage("by=user,day&format=csv").await.text().contains("\"2026-01-14\""));
    let (good, table) =
        gateway.command(&["usage", "--by", "day", "--sort", "gpu", "--from", "2026-01-14T00:00:00Z"], "");
    assert!(good && table.contains("2026-01-15"), "{table}");
    for bad in ["by=user,model", "by=day,user", "by=user,", "by=user,day,hour", "sort=age"] {
        assert_eq!(usage(bad).await.status, 400, "{bad}");
    }
}

#[actix_web::test]
async fn of_two_keys_those_that_were_used_least_are_a_line_for_each_day() {
    let mut gateway = TestGateway::start_with("http://127.0.0.1:1", &[("TIMEZONE", "UTC")]);
    gateway.kill();
    gateway.on_the_file(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) \
         INSERT INTO usage SELECT 0, 1, n, 'm', 1, 0, 0, 2, 3, 4000 + n, 5000 FROM numbers",
    );
    gateway.restart();
    let admin = gateway.admin().await;
    let usage = async |query: &str| {
        gateway.get(&format!("/api/v1/usage?from=1970-01-01T00:00:00Z&{query}"), Some(&admin)).await
    };

    let page = usage("by=token,day&sort=gpu&to=1970-01-03T00:00:00Z").await.json();

    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 3333, "as many as could be there on each of two days");
    assert_eq!(json!([items[3332]["key"], items[3332]["requests"]]), json!(["(others)", 10_000 - 3332]));
    assert_eq!(items[0]["gpu_ms"], 14);
    let (most, more) = ("by=user,hour&to=1970-07-28T07:00:00Z", "by=user,hour&to=1970-07-28T08:00:00Z");
    assert_eq!((usage(most).await.status, usage(more).await.status), (200, 400));
    assert_eq!(usage("by=day&to=2026-01-01T00:00:00Z").await.status, 400, "more than ten thousand days");
}

#[actix_web::test]
async fn the_story_of_the_gpu_tells_who_used_it_when_and_who_waited() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let ann = gateway.id_of(&admin, "ann").await;
    gateway.kill();
    // Far ahead, because the record is in the order of time. Ann's request arrived at 14:04:30, waited a minute, and ran from
    // 14:05:30 to 14:07:30; the admin's ran for ten seconds until 14:05:10.
    gateway.on_the_file(
        "INSERT INTO record (kind, at_us, request_id, user_id, outcome, queued_us, total_us, gpu_us) \
         SELECT 'result', strftime('%s', '2099-01-15T' || at) * 1000000, randomblob(16), \
         (SELECT id FROM users WHERE username = name), 'completed', queued * 1000000, total * 1000000, gpu * 1000000 FROM (\
         SELECT '14:05:10' AS at, 'admin' AS name, 0 AS queued, 10 AS total, 8 AS gpu \
         UNION ALL SELECT '14:07:30', 'ann@example.org', 60, 180, 100)",
    );
    gateway.restart();
    let story = async |query: &str| {
        gateway.get(&format!("/api/v1/usage/timeline?to=2099-01-15T14:30:00Z&{query}"), Some(&admin)).await
    };

    let told = story("").await.json();

    let head = json!([told["span"], told["from"], told["to"], told["interval_seconds"], told["source"]]);
    assert_eq!(head, json!(["hour", "2099-01-15T13:30:00Z", "2099-01-15T14:30:00Z", 60, "requests"]));
    let names = json!([told["people"][0]["name"], told["people"][0]["id"], told["people"][1]["name"]]);
    assert_eq!(names, json!(["ann@example.org", ann, "admin"]));
    assert_eq!((&told["people"][0]["gpu_ms"], told["intervals"].as_array().unwrap().len()), (&json!(100_000), 60));
    let at = |minute: &str| {
        let begins = format!("2099-01-15T{minute}:00Z");
        let one = told["intervals"].as_array().unwrap().iter().find(|one| one["begins_at"] == begins.as_str());
        let one = one.unwrap_or_else(|| panic!("{told}"));
        json!([one["gpu_ms"], one["waited"], one["longest_wait_ms"]])
    };
    assert_eq!(at("14:04"), json!([[0, 0], 1, 60_000]));
    assert_eq!(at("14:05"), json!([[25_000, 8_000], 1, 60_000]));
    assert_eq!(at("14:06"), json!([[50_000, 0], 0, 0]));
    assert_eq!(at("14:08"), json!([[0, 0], 0, 0]));
    let day = story("span=day").await.json();
    assert_eq!((&day["interval_seconds"], day["intervals"].as_array().unwrap().len()), (&json!(900), 96));
    assert_eq!(story("span=week").await.json()["people"][0]["gpu_ms"], 100_000);
    let own = story(&format!("user_id={ann}")).await.json();
    assert_eq!(own["people"].as_array().unwrap().len(), 1);
    let (good, table) = gateway.command(&["usage", "--timeline", "hour", "--to", "2099-01-15T14:30:00Z"], "");
    assert!(good && table.contains("2099-01-15T14:05:00Z") && table.contains("ann@example.org 25.0"), "{table}");
    for bad in ["span=month", "user_id=nobody", "by=user"] {
        assert!([400, 404].contains(&story(bad).await.status), "{bad}");
    }
}

#[actix_web::test]
async fn of_a_time_with_too_many_requests_the_sums_are_shown_and_no_waiting() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.kill();
    // The numbers of rows may have gaps; this one is as large as 200,001 rows would make it.
    gateway.on_the_file(
        "INSERT INTO record (log_id, kind, at_us, request_id, user_id, outcome, queued_us, total_us, gpu_us) \
         SELECT 300000 + n * 200000, 'result', strftime('%s', '2099-01-15T14:05:00') * 1000000 + n, randomblob(16), 1, \
         'completed', 5000000, 10000000, 4000000 FROM (SELECT 0 AS n UNION ALL SELECT 2)",
    );
    gateway.restart();
    let admin = gateway.admin().await;
    let summed = async || {
        let path = "/api/v1/usage/timeline?to=2099-01-15T14:30:00Z";
        let told = gateway.get(path, Some(&admin)).await.json();
        (told["people"][0]["gpu_ms"] == 8_000).then_some(told)
    };

    let told = eventually("the sums have followed", summed).await;

    assert_eq!(
        json!([told["source"], told["interval_seconds"], told["people"][0]["name"]]),
        json!(["sums", 900, "admin"])
    );
    let quarters = told["intervals"].as_array().unwrap();
    assert_eq!((quarters.len(), &quarters[2]["gpu_ms"]), (4, &json!([8_000])));
    assert!(quarters.iter().all(|one| one["waited"].is_null()));
}
