//! A person's own page, account and export.

use serde_json::json;

use crate::support::browser::{Browser, Page};
use crate::support::eventually::eventually;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done};
use crate::support::gateway::{PASSWORD, TestGateway};

const NEW: &str = "another long password of mine";

/// Sends a chat and returns its status.
async fn ask(gateway: &TestGateway, bearer: &str, text: &str) -> u16 {
    let chat = json!({ "model": "llama3.2:latest", "messages": [{ "role": "user", "content": text }] });
    gateway.post("/v1/chat/completions", Some(bearer), chat).await.status
}

/// Gets a page until it says `text`.
async fn until_it_says(browser: &mut Browser, path: &str, text: &str) -> Page {
    let page = async || Some(browser.get(path).await).filter(|page| page.has(text));
    eventually(&format!("{path} says {text:?}"), page).await
}

#[actix_web::test]
async fn my_page_tells_what_is_left_what_was_asked_and_why_the_last_one_was_refused() {
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &[("LIMITS__REQUESTS_PER_MINUTE", "2")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;

    let empty = browser.get("/me").await;
    empty.says("<title>My page · lan-gateway</title>");
    empty.says("2 requests left");
    empty.says("of 2 in any 60 seconds.");
    empty.says("Nothing of yours runs or waits.");
    empty.says("Nothing yet.");
    assert!(!empty.has("Your last refusal"));

    assert_eq!(ask(&gateway, &ann, "Why <b>does</b>\n it \u{202e}drift?").await, 200);
    assert_eq!(ask(&gateway, &ann, "And now?").await, 200);
    assert_eq!(ask(&gateway, &ann, "Once more").await, 429);

    let page = until_it_says(&mut browser, "/me", "Your last refusal").await;
    page.says("0 requests left");
    page.says("all back in ");
    page.says("the requests for 60 s were used up");
    page.says("A client that waits as long as <code>Retry-After</code> says gets through.");
    page.says("Why &lt;b&gt;does&lt;/b&gt; it <span class=\"chip-char\"");
    page.says("href=\"/me/record/");
    page.says("llama3.2:latest");
    let part = browser.get("/live/me").await;
    assert_eq!(part.status, 200);
    part.says("id=\"own-now\"");
    part.says("id=\"own-latest\"");
    assert!(!part.has("<title>") && part.header("etag").is_some());
}

#[actix_web::test]
async fn my_page_shows_own_requests_in_the_queue_and_nobody_elses() {
    let ollama = FakeOllama::start();
    let gateway = TestGateway::start_with(&ollama.url(), &[("OLLAMA__SLOTS", "1")]);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let mut browser = Browser::of_user(&gateway, "ann").await;
    ollama.next(Script::of(vec![Step::Wait, done("stop")]));

    let running = ask(&gateway, &ann, "first");
    let looks = async {
        gateway.until_queue(&admin, "one runs", |queue| queue["running"] == 1).await;
        let others = ask(&gateway, &bob, "of bob");
        let looks = async {
            gateway.until_waiting(&admin, 1).await;
            let page = browser.get("/live/me").await;
            page.says("Running");
            page.says("data-since=");
            assert!(!page.has("in line"), "{}", page.text);
            ollama.release();
        };
        tokio::join!(others, looks)
    };
    tokio::join!(running, looks);
}

#[actix_web::test]
async fn a_new_password_ends_every_other_session_and_opens_the_next_one_here() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut other = Browser::of_user(&gateway, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;
    browser.get("/me/account").await.says("Change your password");
    let form = |now, new, again| [("current_password", now), ("new_password", new), ("repeated", again)];

    let wrong = browser.post("/me/account/password", &form("not my password at all", NEW, NEW)).await;
    assert_eq!(wrong.status, 400);
    wrong.says("<title>Problem: Your account");
    wrong.says("This is not your password.");
    assert!(!wrong.has(NEW) && !wrong.has("not my password at all"));
    let differ = browser.post("/me/account/password", &form(PASSWORD, NEW, "something else")).await;
    differ.says("The two passwords differ");
    let short = browser.post("/me/account/password", &form(PASSWORD, "short", "short")).await;
    assert_eq!(short.status, 400);
    short.says("id=\"new_password-error\"");

    let done = browser.submit("/me/account/password", &form(PASSWORD, NEW, NEW)).await;
    done.says("Your password was changed.");
    assert_eq!(other.get("/me").await.status, 303, "the other session has ended");
    assert_eq!(gateway.token("ann@example.org", NEW).await.split('.').count(), 3);
}

#[actix_web::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    gateway.user(&admin, "bob").await;
    let (mut one, mut two) = (Browser::of_user(&gateway, "ann").await, Browser::of_user(&gateway, "ann").await);
    let mut bob = Browser::of_user(&gateway, "bob").await;
    let mut here = Browser::of_user(&gateway, "ann").await;

    let page = here.get("/me/account").await;
    assert_eq!(page.text.matches("signed in <time").count(), 3);
    page.says("this one");
    let handle = page.between("name=\"session\" value=\"", "\"").to_owned();
    bob.submit("/me/account/sessions/end", &[("session", &handle)]).await.says("That session had ended already.");
    assert_eq!(here.get("/me/account").await.text.matches("signed in <time").count(), 3, "it was not bob's to end");

    here.submit("/me/account/sessions/end", &[("session", &handle)]).await.says("The session was ended.");
    let open = [one.get("/me").await.status, two.get("/me").await.status];
    assert!(open.contains(&303) && open.contains(&200), "{open:?}");
    here.submit("/me/account/sessions/end-others", &[]).await.says("1 other session was ended.");
    assert_eq!([one.get("/me").await.status, two.get("/me").await.status], [303, 303]);
    let last = here.get("/me/account").await;
    assert!(!last.has("Sign out everywhere else"));
    assert_eq!(bob.get("/me").await.status, 200);
}

#[actix_web::test]
async fn what_is_chosen_for_a_browser_stays_in_it() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut browser = Browser::of_user(&gateway, "ann").await;

    let page = browser.submit("/me/account/look", &[("theme", "dark")]).await;
    page.says("Saved in this browser.");
    page.says("<html lang=\"en\" data-theme=\"dark\">");
    page.says("data-keys=\"off\"");
    let page = browser.submit("/me/account/look", &[("theme", "<b>"), ("keys", "on")]).await;
    page.says("<html lang=\"en\">");
    assert!(!page.has("data-keys=\"off\""));
}

#[actix_web::test]
async fn the_own_record_is_downloaded_with_its_receipt_and_counts_as_an_own_change() {
    let settings = [("LIMITS__OWN_ACTS_PER_MINUTE", "2")];
    let gateway = TestGateway::start_with(&FakeOllama::start().url(), &settings);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    assert_eq!(ask(&gateway, &ann, "a question of ann").await, 200);
    assert_eq!(ask(&gateway, &bob, "a question of bob").await, 200);
    let mut browser = Browser::of_user(&gateway, "ann").await;
    browser.get("/me/export").await.says("The last line is a receipt.");

    let file = browser.post("/me/export", &[("format", "jsonl"), ("bom", "true")]).await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"record.jsonl\""));
    file.says("a question of ann");
    file.says("receipt");
    assert!(!file.has("a question of bob") && !file.text.starts_with('\u{feff}'));
    let wrong = browser.post("/me/export", &[("format", "exe")]).await;
    assert_eq!(wrong.status, 400);
    wrong.says("<title>Problem:");
    let file = browser.post("/me/export", &[("format", "csv"), ("bom", "true")]).await;
    assert!(file.text.starts_with('\u{feff}'));

    let page = browser.post("/me/export", &[("format", "csv")]).await;
    page.says("try again in");
    let origin = gateway.url.clone();
    let forged = browser.send("POST", "/me/export", &[("origin", &origin)], "format=csv".into()).await;
    assert_eq!(forged.status, 403);
}
