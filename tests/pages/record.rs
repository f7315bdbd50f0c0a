//! The record on pages: the list, its filters, searches, and what is new.

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::eventually::until;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello};

fn asks(text: &str) -> serde_json::Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": text }] })
}

/// A gateway with an admin and ann, who has asked once.
async fn gateway_with_a_request(text: &str) -> (TestGateway, String, String) {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let answer = gateway.post("/v1/chat/completions", Some(&ann), asks(text)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    (gateway, admin, ann)
}

/// Counts the acts of a name.
pub async fn acts(gateway: &TestGateway, admin: &str, act: &str) -> usize {
    let page = gateway.get(&format!("/api/v1/audit?act={act}&limit=500"), Some(admin)).await;
    page.json()["items"].as_array().unwrap().len()
}

#[actix_web::test]
async fn the_record_lists_requests_refusals_and_acts_without_contents() {
    let (gateway, admin, ann) = gateway_with_a_request("zebra crossing").await;
    let refused = gateway.post("/v1/chat/completions", Some(&ann), json!({ "model": "none", "messages": [] })).await;
    assert!(refused.status >= 400);
    let mut browser = Browser::of_admin(&gateway).await;

    // What the pulse counts is a moment behind the record.
    let counted = "1 request, 1 refused</title>";
    until("the pulse counts both", async || browser.get("/admin/record").await.has(counted)).await;
    let page = browser.get("/admin/record").await;

    assert_eq!(page.status, 200, "{}", page.text);
    for said in ["ann@example.org", "fake", "Completed", "Refused", "Today, ", "let in", "newest first. Times are "] {
        page.says(said);
    }
    page.says("Opening what somebody wrote is itself recorded.");
    page.says("Requests per hour");
    assert!(!page.has("zebra"), "a list shows no contents");
    let ann_id = gateway.id_of(&admin, "ann@example.org").await;
    let own = browser.get(&format!("/admin/record?user_id={ann_id}&kind=request")).await;
    own.says("Person: ann@example.org");
    own.says("Only requests");
    assert!(own.has("Completed") && !own.has("let in") && !own.has("class=\"outcome refused\""));
}

#[actix_web::test]
async fn a_filter_as_it_is_typed_leads_to_an_address_that_can_be_passed_on() {
    let (gateway, admin, _) = gateway_with_a_request("hello").await;
    let ann = gateway.id_of(&admin, "ann@example.org").await;
    let mut browser = Browser::of_admin(&gateway).await;

    let typed = "/admin/record?text=&user_id=Ann%40example.org&token_id=&kind=&outcome=failed&outcome=completed&model=&api=\
                 &from=2026-01-31+12%3A00%3A30&to=&x=1";
    let page = browser.get(typed).await;
    assert_eq!(page.status, 303);
    let there = page.location().to_owned();
    assert!(there.starts_with(&format!("/admin/record?user_id={ann}&outcome=completed%2Cfailed&from=2026-01-31T")));
    let page = browser.get(&there).await;
    assert_eq!(page.status, 200, "the address is kept: {there}");
    page.says("Outcome: completed, failed");
    page.says(r#"value="ann@example.org""#);
    page.says(r#"value="completed" checked"#);

    assert_eq!(browser.get("/admin/record?from=-2d&to=").await.location(), "/admin/record?from=-2d");
    for (word, said) in [("today", "Today"), ("-2d", "Last 2 days")] {
        let page = browser.get(&format!("/admin/record?from={word}")).await;
        assert_eq!(page.status, 200, "{word}");
        page.says(said);
        page.says("Completed");
        page.says("<span class=\"hidden\">Take away: </span>");
    }
    let none = browser.get("/admin/record?model=other").await;
    none.says("Nothing found for these filters.");
    none.says("Model: other");
}

#[actix_web::test]
async fn what_is_wrong_with_a_filter_stands_at_its_field_and_the_filter_stays() {
    let (gateway, _, _) = gateway_with_a_request("hello").await;
    let mut browser = Browser::of_admin(&gateway).await;

    for (query, field, said) in [
        ("user_id=nobody%40example.org", "user_id", "Nobody has this name or id."),
        ("token_id=nope", "token_id", "No access token has this name or id."),
        ("from=soon", "from", "Type a time as in 2026-01-31 12:00"),
        ("kind=thing", "kind", "must be request, refusal or act"),
        ("outcome=exploded", "outcome", "must be one or several of"),
        ("text=%2B", "text", "holds no word to look for"),
    ] {
        let page = browser.get(&format!("/admin/record?{query}&model=kept")).await;
        assert_eq!(page.status, 400, "{query}");
        page.says("<title>Problem: Record");
        page.says(said);
        page.says(&format!("href=\"#{field}\""));
        page.says(r#"value="kept""#);
    }
    let markup = browser.get("/admin/record?user_id=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!markup.has("<script>alert"), "{}", markup.text);
}

#[actix_web::test]
async fn a_search_shows_what_it_found_marked_and_is_recorded_once() {
    let (gateway, admin, _) = gateway_with_a_request("the <b>pump</b> controller drifts").await;
    let mut browser = Browser::of_admin(&gateway).await;
    let searches = async || acts(&gateway, &admin, "contents_searched").await;
    // The index is a moment behind the record; each look is a search of its own.
    let mut looks = 0;
    until("the request is indexed", async || {
        looks += 1;
        browser.get("/admin/record?text=pump").await.has("<mark>pump</mark>")
    })
    .await;
    let before = searches().await;
    assert_eq!(before, looks);

    let page = browser.get("/admin/record?text=pump").await;

    page.says("1 found. Searched to ");
    page.says("This search is on the record.");
    page.says("the &lt;b&gt;<mark>pump</mark>&lt;/b&gt; controller drifts");
    assert!(!page.has("data-live="), "a poll would search again");
    assert_eq!(searches().await, before + 1);
    assert_eq!(browser.get("/live/record?text=pump&after=1").await.status, 304);
    assert_eq!(searches().await, before + 1, "a live part never searches");
    // A refused search and a redirect are no searches.
    browser.get("/admin/record?text=%2B").await;
    browser.get("/admin/record?text=pump&model=").await;
    assert_eq!(searches().await, before + 1);
}

#[actix_web::test]
async fn what_came_later_is_counted_above_the_list_and_does_not_push() {
    let (gateway, admin, ann) = gateway_with_a_request("hello").await;
    let mut browser = Browser::of_admin(&gateway).await;
    let page = browser.get("/admin/record?kind=request").await;
    let live = page.between("data-live=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
    assert!(live.starts_with("/live/record?kind=request&after="), "{live}");

    let first = browser.get(&live).await;
    assert_eq!(first.status, 200);
    assert!(first.has("id=\"fresh\"") && !first.has("new"));
    let tag = first.header("etag").unwrap().to_owned();
    let same = browser.send("GET", &live, &[("if-none-match", &tag)], String::new()).await;
    assert_eq!(same.status, 304);
    for _ in 0..2 {
        gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    }
    browser.get(&live).await.says(r#"<a href="/admin/record?kind=request">2 new</a>"#);

    assert!(!browser.get("/admin/record?to=2100-01-01").await.has("data-live="));
    assert_eq!(acts(&gateway, &admin, "contents_searched").await, 0);
}

#[actix_web::test]
async fn older_rows_are_behind_a_cursor_and_the_newest_one_press_away() {
    let gateway = TestGateway::start_with(
        &FakeOllama::start().url(),
        &[("LIMITS__REQUESTS_PER_MINUTE", "1000"), ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "100000")],
    );
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    for _ in 0..51 {
        gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    }
    let mut browser = Browser::of_admin(&gateway).await;

    let page = browser.get("/admin/record?kind=request").await;
    page.says("50 rows, newest first");
    assert!(!page.has(">Newest<"));
    let older = page.between("<a class=\"btn slim\" href=\"/admin/record?kind=request&#38;cursor=", "\"").to_owned();
    let page = browser.get(&format!("/admin/record?kind=request&cursor={older}")).await;

    page.says("1 row, newest first");
    page.says(r#"href="/admin/record?kind=request"><span>Newest</span>"#);
    assert!(!page.has(">Older<") && !page.has("data-live="));
    assert_eq!(browser.get("/admin/record?kind=request&cursor=x").await.location(), "/admin/record?kind=request");
}

#[actix_web::test]
async fn ones_own_record_shows_ones_own_rows_and_their_beginnings_and_is_no_act() {
    let (gateway, admin, _) = gateway_with_a_request("why is the sea salty").await;
    let bob = gateway.user(&admin, "bob").await;
    gateway.post("/v1/chat/completions", Some(&bob), asks("a secret of bob")).await;
    let mut browser = Browser::of_user(&gateway, "ann").await;

    let page = browser.get("/me/record").await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.says("why is the sea salty");
    page.says("What you asked");
    assert!(!page.has("secret of bob") && !page.has("bob@") && !page.has("/admin"));
    assert!(page.has("data-live=\"/live/me/record?after="));
    let bob_id = gateway.id_of(&admin, "bob@example.org").await;
    assert_eq!(browser.get(&format!("/me/record?user_id={bob_id}")).await.location(), "/me/record");
    until("the request is indexed", async || browser.get("/me/record?text=salty").await.has("<mark>salty</mark>"))
        .await;
    assert!(!browser.get("/me/record?text=salty").await.has("on the record"));
    browser.get("/me/record?text=secret").await.says("Nothing found for these filters.");
    assert_eq!(acts(&gateway, &admin, "contents_searched").await, 0, "one's own search is no act");
}

#[actix_web::test]
async fn an_export_takes_the_filter_along_with_its_times_as_of_now() {
    let (gateway, _, _) = gateway_with_a_request("hello").await;
    let mut browser = Browser::of_admin(&gateway).await;
    let page = browser.get("/admin/record?kind=request&from=-2d").await;
    let form = page.between("action=\"/admin/exports\">", "</form>");
    let from = form.split("name=\"from\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(from.starts_with("20") && from.ends_with('Z'), "{from}");
    assert!(form.contains("name=\"kind\" value=\"request\""));

    let fields = [("kind", "request"), ("from", from.as_str()), ("format", "csv")];
    let begun = browser.post("/admin/exports", &fields).await;

    // The password was given at the sign-in, a moment ago.
    assert!(begun.location().starts_with("/admin/exports/"), "{}", begun.location());
}
