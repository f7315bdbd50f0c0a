//! Usage: bars, table, CSV and the story of the GPU; of everybody, and one's own.

use serde_json::{Value, json};

use crate::support::browser::{Browser, Page};
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

/// Two people who asked a model; ann by an access token, too.
struct Used {
    gateway: TestGateway,
    admin: String,
    ann: String,
    bob: String,
    /// The id of ann's access token.
    token: String,
}

async fn used() -> Used {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let bob = gateway.user(&admin, "bob").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "nightly <b>", "scopes": ["chat"] })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let secret = made["token"].as_str().unwrap().to_owned();
    for bearer in [&secret, &ann, &bob] {
        assert_eq!(gateway.post("/v1/chat/completions", Some(bearer), hello()).await.status, 200);
    }
    let path = "/api/v1/usage?by=user";
    until("usage is summed up", async || {
        let page = gateway.get(path, Some(&admin)).await.json();
        page["items"].as_array().unwrap().iter().map(|item| item["requests"].as_u64().unwrap()).sum::<u64>() == 3
    })
    .await;
    let [ann, bob] = [gateway.id_of(&admin, "ann@").await, gateway.id_of(&admin, "bob@").await];
    let token = made["id"].as_str().unwrap().to_owned();
    Used { gateway, admin, ann, bob, token }
}

/// Returns the rows of the table of usage.
fn table(page: &Page) -> Vec<&str> {
    let body = page.between("<table class=\"table cards usage\"", "</table>").split_once("<tbody").unwrap().1;
    body.split("<tr ").skip(1).collect()
}

#[actix_web::test]
async fn admins_see_who_used_how_much_and_a_row_chooses() {
    let used = used().await;
    let mut browser = Browser::of_admin(&used.gateway).await;

    let page = browser.get("/admin/usage?time=today&measure=requests").await;

    assert_eq!(page.status, 200);
    page.says("Requests per hour");
    let rows = table(&page);
    assert!(rows[0].contains("ann@example.org") && rows[0].contains(">2<"), "{}", rows[0]);
    assert!(rows[1].contains("bob@example.org"), "{}", rows[1]);
    assert!(rows[2].contains("2 people") && rows[2].contains(">3<"), "the foot: {}", rows[2]);
    page.says("/admin/record?from=");
    page.says("Days and hours are those of");

    let chosen = format!("/admin/usage?time=today&measure=requests&by=user&user_id={}", used.ann);
    page.says(&chosen.replace('&', "&#38;"));
    let page = browser.get(&chosen).await;
    assert!(table(&page)[0].starts_with("role=\"row\" class=\"chosen\""));
    page.says("class=\"b hi\"");
    page.says("of these ann@example.org 2");
    page.says("<span class=\"hidden\">Take away: </span>ann@example.org");
    let page = browser.get(&format!("/admin/usage?time=today&by=model&user_id={}", used.bob)).await;
    page.says("What bob@example.org used");
    assert!(table(&page)[0].contains("data-label=\"Requests\">1<"), "{}", table(&page)[0]);
}

#[actix_web::test]
async fn each_measure_group_and_time_is_an_address_and_nonsense_is_told_or_left_out() {
    let used = used().await;
    let mut browser = Browser::of_admin(&used.gateway).await;
    for time in ["today", "7d", "30d", "other"] {
        for (measure, by) in
            [("gpu", "user"), ("requests", "token"), ("tokens", "model"), ("refused", "day"), ("failed", "user")]
        {
            let page = browser.get(&format!("/admin/usage?time={time}&measure={measure}&by={by}")).await;
            assert_eq!(page.status, 200, "{time} {measure} {by}");
            table(&page);
        }
    }

    assert_eq!(browser.get("/admin/usage?time=%00&measure=%3Cb%3E&by=x&story=x&until=x&at=x").await.status, 200);
    let page = browser.get("/admin/usage?time=other&from=%22%3E%3Cscript%3E&to=2026-01-01").await;
    assert_eq!(page.status, 400);
    page.says("<title>Problem:");
    page.says("That is no time.");
    assert!(!page.has("<script>"));
    for nobody in ["user_id", "token_id"] {
        let page = browser.get(&format!("/admin/usage?{nobody}=0b7c9a52-3f0e-4a53-9a3e-6f1d3f8c2b11")).await;
        assert_eq!(page.status, 404, "{nobody}");
    }
}

#[actix_web::test]
async fn a_time_without_requests_says_so() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;

    let page = browser.get("/admin/usage?time=today").await;

    page.says("Nothing was used in this time.");
    page.says("Nothing ran in this time.");
}

#[actix_web::test]
async fn the_csv_answers_the_same_question_as_a_download() {
    let used = used().await;
    let mut browser = Browser::of_admin(&used.gateway).await;
    let page = browser.get(&format!("/admin/usage?time=today&by=token&user_id={}", used.ann)).await;
    let path = page.between("<a class=\"btn \" href=\"/admin/usage.csv", "\"").replace("&#38;", "&");

    let csv = browser.get(&format!("/admin/usage.csv{path}")).await;

    assert_eq!(csv.status, 200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment; filename=\"usage-20"));
    assert_eq!(csv.text.lines().count(), 3, "the head, the access token, and without one: {}", csv.text);
    assert!(csv.has("\"nightly <b>\",\"1\"") && !csv.has("bob"), "{}", csv.text);
    let csv = browser.get(&format!("/admin/usage.csv{path}&bom=true")).await;
    assert!(csv.text.starts_with('\u{feff}'));
}

#[actix_web::test]
async fn everybody_sees_their_own_usage_and_nobody_elses() {
    let used = used().await;
    let mut ann = Browser::of_user(&used.gateway, "ann").await;
    let mut bob = Browser::of_user(&used.gateway, "bob").await;

    let page = ann.get(&format!("/me/usage?time=today&measure=requests&user_id={}", used.bob)).await;
    assert_eq!(page.status, 200);
    let rows = table(&page);
    assert!(page.has("nightly &lt;b&gt;") && page.has("Without an access token"), "{rows:?}");
    assert!(rows[2].contains("1 access token<") && rows[2].contains(">2<"), "{}", rows[2]);
    assert!(!page.has("bob@") && !page.has("/admin") && !page.has("by=user"));
    page.says("/me/record?from=");
    let csv = ann.get(&format!("/me/usage.csv?time=today&user_id={}&by=user", used.bob)).await;
    assert!(!csv.has("bob") && csv.has("nightly"), "{}", csv.text);

    let chosen = format!("/me/usage?time=today&token_id={}", used.token);
    ann.get(&chosen).await.says("Take away: </span>nightly &#60;b&#62;");
    let nowhere = bob.get("/me/nope").await;
    for path in [chosen, format!("/me/usage.csv?by=model&token_id={}", used.token)] {
        let page = bob.get(&path).await;
        assert_eq!((page.status, &page.text), (404, &nowhere.text), "{path}");
    }
    for path in ["/admin/usage", "/admin/usage.csv"] {
        assert_eq!(bob.get(path).await.status, 404, "{path}");
    }
    assert!(used.admin.contains('.'));
}

#[actix_web::test]
async fn the_story_of_the_gpu_names_who_used_it_and_who_waited() {
    let used = used().await;
    let row = |user: &str, ended_ago_s: i64, queued_s: i64, gpu_s: i64| {
        used.gateway.on_the_file(&format!(
            "INSERT INTO record (kind, at_us, request_id, user_id, outcome, queued_us, total_us, gpu_us) \
             SELECT 'result', (SELECT max(at_us) FROM record) + 1, randomblob(16), id, 'completed', {queued_s} * 1000000, \
             ({queued_s} + {gpu_s} + {ended_ago_s}) * 1000000, {gpu_s} * 1000000 FROM users \
             WHERE username = '{user}@example.org'"
        ));
    };
    row("ann", 0, 0, 900);
    row("bob", 0, 300, 9);
    let mut browser = Browser::of_admin(&used.gateway).await;

    let page = browser.get("/admin/usage?story=hour").await;

    assert!(
        page.text.find("id=\"story\"") < page.text.find("aria-label=\"Measure\""),
        "it was asked for: it comes first"
    );
    page.says("<b>ann@example.org</b> used 15 min of the 15 min of GPU time");
    page.says("1 request, the longest for 5 min 00 s");
    page.says("class=\"waited\"");
    page.says("/admin/record?from=");
    let page = browser.get(&format!("/admin/usage?story=day&user_id={}", used.bob)).await;
    page.says("<b>bob@example.org</b> used 9 s");
    let old = browser.get("/admin/usage?story=hour&at=2020-01-01T14:05").await;
    old.says("Nothing ran in this time.");
    old.says("value=\"2020-01-01T14:05\"");
    old.says(">Later<");

    let mut bob = Browser::of_user(&used.gateway, "bob").await;
    let own = bob.get("/me/usage?story=hour").await;
    own.says("You used 9 s.");
    assert!(!own.has("ann@"));
    let api: Value = used.gateway.get("/api/v1/usage/timeline", Some(&used.admin)).await.json();
    assert_eq!(api["people"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn what_runs_now_is_in_the_story_of_the_gpu() {
    let ollama = FakeOllama::start();
    let gateway = TestGateway::start(&ollama.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    ollama.next(Script::of(vec![text("so"), Step::Wait, done("stop")]));
    let mut browser = Browser::of_admin(&gateway).await;
    let body = hello_stream().to_string().into_bytes();

    let asking = gateway.open("POST", "/v1/chat/completions", Some(&ann), body).await;

    // Nothing of it is recorded but that it began.
    until("it runs", async || browser.get("/admin/usage?story=hour").await.has("<b>ann@example.org</b> used")).await;
    let mut own = Browser::of_user(&gateway, "ann").await;
    own.get("/me/usage").await.says("You used");
    ollama.release();
    drop(asking);
}
