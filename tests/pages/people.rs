//! People: who waits, who used what, and what admins do about them.

use serde_json::json;

use crate::support::browser::{Browser, Page};
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway, hello};

/// A gateway with the admin and ann, and a browser of the admin.
async fn with_ann() -> (TestGateway, String, Browser, String) {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let browser = Browser::of_admin(&gateway).await;
    let id = gateway.id_of(&admin, "ann@example.org").await;
    (gateway, admin, browser, id)
}

async fn register(gateway: &TestGateway, name: &str) {
    let form = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
    assert_eq!(gateway.post("/api/v1/register", None, form).await.status, 202);
}

/// Restarts the gateway: after that the session is there, and the password has to be given again.
pub fn forget_proof(gateway: &mut TestGateway, browser: &Browser) -> Browser {
    let id = browser.cookie("lgw_session").unwrap().to_owned();
    gateway.kill();
    gateway.restart();
    let mut browser = Browser::new(gateway);
    browser.set_cookie("lgw_session", &id);
    browser
}

fn in_order(page: &Page, texts: &[&str]) {
    let places: Vec<usize> = texts
        .iter()
        .map(|text| page.text.find(text).unwrap_or_else(|| panic!("no {text:?} in {}", page.text)))
        .collect();
    assert!(places.is_sorted(), "{texts:?} are at {places:?}");
}

#[actix_web::test]
async fn the_list_has_everybody_with_tabs_and_a_search() {
    let (gateway, admin, mut browser, id) = with_ann().await;
    gateway.user(&admin, "bob").await;
    register(&gateway, "lena").await;
    let limits = json!({ "requests_per_minute": 60, "class": "batch" });
    gateway.send("PATCH", &format!("/api/v1/users/{id}"), Some(&admin), limits.to_string().into_bytes()).await;
    let bob = gateway.id_of(&admin, "bob@example.org").await;
    gateway.post(&format!("/api/v1/users/{bob}/disable"), Some(&admin), json!({})).await;

    let page = browser.get("/admin/users").await;
    assert_eq!(page.status, 200);
    in_order(
        &page,
        &["Wait for approval", "lena@example.org", "asked <time", "All 3", "ann@example.org", "bob@example.org"],
    );
    for text in ["Active 2", "Disabled 1", "60 a minute", "batch</span>", "disabled</span>", "3 people", "/register"] {
        page.says(text);
    }
    assert!(!browser.get("/admin/users?status=active").await.has("bob@example.org"));
    let disabled = browser.get("/admin/users?status=disabled&search=BOB").await;
    disabled.says("bob@example.org");
    disabled.says("name=\"status\" value=\"disabled\"");
    browser.get("/admin/users?search=%3Cb%3E").await.says("Nobody here has “&lt;b&gt;” in their name.");
    // A cursor that is none begins at the top.
    browser.get("/admin/users?cursor=x").await.says("ann@example.org");
}

#[actix_web::test]
async fn the_only_admin_is_told_where_others_ask_for_an_account() {
    let gateway = TestGateway::start(&FakeOllama::start().url());
    gateway.admin().await;
    let mut browser = Browser::of_admin(&gateway).await;

    let page = browser.get("/admin/users").await;

    page.says("Nobody else yet. Send people to");
    page.says(&format!("{}/register", gateway.url));
}

#[actix_web::test]
async fn who_waits_is_let_in_or_turned_down() {
    let (mut gateway, admin, browser, _) = with_ann().await;
    register(&gateway, "lena").await;
    register(&gateway, "mallory").await;
    let lena = gateway.id_of(&admin, "lena@example.org").await;
    let mallory = gateway.id_of(&admin, "mallory@example.org").await;
    let mut browser = forget_proof(&mut gateway, &browser);
    browser.get("/admin/users").await;

    let again = browser.post(&format!("/admin/users/{lena}/approve"), &[]).await;
    assert_eq!(again.status, 200);
    again.says("With it you let in lena@example.org.");
    let password = [("password_again", ADMIN_PASSWORD)];
    let page = browser.submit(&format!("/admin/users/{lena}/approve"), &password).await;
    page.says("lena@example.org may sign in now.");
    Browser::of_user(&gateway, "lena").await;

    let sure = browser.get(&format!("/admin/users/{mallory}/turn-down")).await;
    sure.says("Turn down mallory@example.org");
    let page = browser.submit(&format!("/admin/users/{mallory}/turn-down"), &[]).await;
    page.says("mallory@example.org was turned down. They can ask again.");
    // Nobody is there to be turned down any more, and who was let in does not wait.
    assert_eq!(browser.get(&format!("/admin/users/{mallory}/turn-down")).await.status, 404);
    let late = browser.get(&format!("/admin/users/{lena}/turn-down")).await;
    assert_eq!(late.status, 409);
    assert_eq!(browser.post(&format!("/admin/users/{lena}/turn-down"), &[]).await.status, 409);
}

#[actix_web::test]
async fn an_account_is_disabled_after_a_question_and_enabled_again() {
    let (gateway, _, mut browser, id) = with_ann().await;
    let mut ann = Browser::of_user(&gateway, "ann").await;

    browser.get(&format!("/admin/users/{id}/disable")).await.says("What runs is cut off now");
    let page = browser.submit(&format!("/admin/users/{id}/disable"), &[]).await;
    page.says("ann@example.org is disabled. What ran was cut off.");
    page.says(&format!("action=\"/admin/users/{id}/enable\""));
    assert_eq!(ann.get("/me").await.location(), "/sign-in?next=%2Fme");

    let page = browser.submit(&format!("/admin/users/{id}/enable"), &[]).await;
    page.says("ann@example.org may sign in again.");
    Browser::of_user(&gateway, "ann").await;
}

#[actix_web::test]
async fn members_and_strangers_find_no_page_about_people() {
    let (gateway, _, _, id) = with_ann().await;
    let mut ann = Browser::of_user(&gateway, "ann").await;
    let missing = ann.get("/admin/nope").await;
    assert_eq!(missing.status, 404);
    let pages = ["", "/record", "/usage", "/disable", "/turn-down"];
    let mut paths: Vec<String> = pages.iter().map(|page| format!("/admin/users/{id}{page}")).collect();
    paths.extend(["/admin/users"].map(str::to_owned));
    for path in &paths {
        let page = ann.get(path).await;
        assert_eq!((page.status, page.text == missing.text), (404, true), "{path}");
        let mut stranger = Browser::new(&gateway);
        assert_eq!(stranger.get(path).await.status, 303, "{path}");
    }
    for act in ["approve", "turn-down", "disable", "enable", "note"] {
        let path = format!("/admin/users/{id}/{act}");
        assert_eq!(ann.post(&path, &[]).await.status, 404, "{act}");
    }
}

#[actix_web::test]
async fn nobody_has_a_page_under_an_id_of_nobody() {
    let (_gateway, _, mut browser, _) = with_ann().await;
    let nobody = "0b7c9a52-3f0e-4a53-9a3e-6f1d3f8c2b11";
    for page in ["", "/record", "/usage", "/disable", "/turn-down"] {
        assert_eq!(browser.get(&format!("/admin/users/{nobody}{page}")).await.status, 404, "{page}");
    }
}

#[actix_web::test]
async fn a_person_at_a_glance() {
    let (gateway, admin, mut browser, id) = with_ann().await;
    let ann = gateway.token("ann@example.org", PASSWORD).await;
    assert_eq!(gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status, 200);
    gateway.newest_outcome(&admin, "completed").await;

    let page = browser.get(&format!("/admin/users/{id}")).await;

    assert_eq!(page.status, 200);
    page.says("<title>ann@example.org");
    for text in
        ["active</span>", "let in by admin", "At a glance", "Completed", "fake", "1</b> of 10 used", "1, as everybody"]
    {
        page.says(text);
    }
    page.says(&format!("href=\"/admin/users/{id}/delete\""));
    page.says("Last request");
    let path = |page: &str| format!("/admin/users/{id}/{page}");
    assert_eq!(browser.get(&path("record")).await.location(), format!("/admin/record?user_id={id}"));
    assert_eq!(browser.get(&path("usage")).await.location(), format!("/admin/usage?user_id={id}"));
}

#[actix_web::test]
async fn a_note_is_kept_shown_as_text_and_refused_where_it_hides_something() {
    let (_gateway, _, mut browser, id) = with_ann().await;
    let path = format!("/admin/users/{id}/note");
    browser.get(&format!("/admin/users/{id}?edit=note")).await.says("<textarea");

    let page = browser.submit(&path, &[("note", "Vision <b>group</b>.\r\nAsked in March.")]).await;
    page.says("The note is saved.");
    page.says("Vision &lt;b&gt;group&lt;/b&gt;.\nAsked in March.");

    let bad = browser.post(&path, &[("note", "turned \u{202e}round")]).await;
    assert_eq!(bad.status, 400);
    bad.says("<title>Problem: ann@example.org");
    bad.says("aria-invalid=\"true\"");
    browser.submit(&path, &[("note", " ")]).await.says("None.");
}

/// The fields of a form of limits, as the page made it.
fn limits_of(page: &Page) -> String {
    page.between("name=\"made_from\" value=\"", "\"").replace("&#34;", "\"")
}

#[actix_web::test]
async fn limits_are_changed_in_one_form_and_undone() {
    let (gateway, admin, mut browser, id) = with_ann().await;
    let path = format!("/admin/users/{id}/limits");
    let page = browser.get(&path).await;
    assert_eq!(page.status, 200);
    for text in ["default: 10", "default: no limit", ">fake", "interactive, for people"] {
        page.says(text);
    }
    let made_from = limits_of(&page);
    let form = |requests, role| {
        [
            ("role", role),
            ("class", "batch"),
            ("requests_per_minute", requests),
            ("tokens_per_day", "200,000"),
            ("weight", "2"),
            ("models", "fake"),
        ]
    };
    let with = |requests, role, made_from| {
        let mut fields = form(requests, role).to_vec();
        fields.push(("made_from", made_from));
        fields
    };

    let wrong = browser.post(&path, &with("0", "user", made_from.as_str())).await;
    assert_eq!(wrong.status, 400);
    for text in
        ["<title>Problem: ann@example.org", "href=\"#requests_per_minute\"", "Must be from 1 to 1000000.", "200,000"]
    {
        wrong.says(text);
    }

    let saved = browser.submit(&path, &with("20", "user", made_from.as_str())).await;
    saved.says("Saved. Felt on the next request.");
    saved.says("Undo");
    let user = gateway.get(&format!("/api/v1/users/{id}"), Some(&admin)).await.json();
    assert_eq!(
        (&user["requests_per_minute"], &user["class"], &user["weight"]),
        (&json!(20), &json!("batch"), &json!(2))
    );
    assert_eq!((&user["models"], &user["quotas"]["tokens_per_day"]), (&json!(["fake"]), &json!(200_000)));

    // The form of an admin who opened the page before keeps what they filled in, and says what was changed.
    let late = browser.post(&path, &with("30", "user", made_from.as_str())).await;
    assert_eq!(late.status, 409);
    late.says("meanwhile:</b>");
    late.says("requests a minute from the default to 20");
    late.says("value=\"30\"");
    let newer = limits_of(&late);
    let again = browser.submit(&path, &with("30", "user", newer.as_str())).await;
    again.says("Saved. Felt on the next request.");
    // Undo is the form as it was before.
    let newest = limits_of(&again);
    let undone = browser.submit(&path, &with("20", "user", newest.as_str())).await;
    undone.says("Saved. Felt on the next request.");
}

#[actix_web::test]
async fn a_role_is_changed_after_the_password_was_given_again() {
    let (mut gateway, admin, browser, id) = with_ann().await;
    let mut browser = forget_proof(&mut gateway, &browser);
    let path = format!("/admin/users/{id}/limits");
    let made_from = limits_of(&browser.get(&path).await);
    let form = [("role", "admin"), ("class", "interactive"), ("all_models", "yes"), ("made_from", made_from.as_str())];

    browser.post(&path, &form).await.says("With it you make ann@example.org an admin.");
    let role = async || gateway.get(&format!("/api/v1/users/{id}"), Some(&admin)).await.json()["role"].clone();
    assert_eq!(role().await, "user");
    let page = browser.submit(&path, &[&form[..], &[("password_again", ADMIN_PASSWORD)]].concat()).await;

    page.says("Saved.");
    assert_eq!(role().await, "admin");
}

#[actix_web::test]
async fn a_reset_shows_its_code_once_and_admin123_never() {
    let (gateway, _, mut browser, id) = with_ann().await;
    let path = format!("/admin/users/{id}/reset");
    let page = browser.get(&path).await;
    page.says("value=\"code\" checked");
    page.says("Their password and every open session end now.");
    assert_eq!(browser.post(&path, &[("mode", "mail")]).await.status, 400);

    let done = browser.post(&path, &[("mode", "code"), ("revoke_tokens", "yes")]).await;
    assert_eq!(done.location(), format!("/admin/users/{id}/code"));
    let shown = browser.get(done.location()).await;
    shown.says("Give this code to ann@example.org. It is shown this once and good for 60 minutes.");
    let code = shown.between("data-private>", "</code>").to_owned();
    let mut ann = Browser::new(&gateway);
    assert_eq!(ann.sign_in("ann@example.org", &code).await.status, 303);
    assert_eq!(ann.get("/").await.location(), "/password?must=1");
    let again = browser.get(done.location()).await;
    again.says("The code was shown once.");
    assert!(!again.has(&code));

    let page = browser.submit(&path, &[("mode", "initial")]).await;
    page.says("The password of ann@example.org is admin123 now");
    page.says("must set a password");
}

#[actix_web::test]
async fn a_reset_asks_for_the_password_again() {
    let (mut gateway, _, browser, id) = with_ann().await;
    let mut browser = forget_proof(&mut gateway, &browser);
    browser.get("/admin").await;

    let page = browser.post(&format!("/admin/users/{id}/reset"), &[("mode", "code")]).await;

    page.says("With it you reset the password of ann@example.org.");
    page.says("name=\"mode\" value=\"code\"");
    Browser::of_user(&gateway, "ann").await;
}

#[actix_web::test]
async fn the_history_tells_acts_about_a_person_in_words() {
    let (_gateway, _, mut browser, id) = with_ann().await;
    browser.post(&format!("/admin/users/{id}/disable"), &[]).await;

    let page = browser.get(&format!("/admin/users/{id}/history")).await;

    assert_eq!(page.status, 200);
    in_order(&page, &["<b>admin</b> disabled <b>ann@example.org</b>", "<b>admin</b> let in", "asked for an account"]);
    page.says("3 acts, newest first");
}

#[actix_web::test]
async fn access_tokens_of_a_person_and_of_everybody_are_revoked_and_resumed() {
    let (gateway, _, mut browser, id) = with_ann().await;
    let ann = gateway.token("ann@example.org", PASSWORD).await;
    let wish = json!({ "name": "nightly <docs>", "requests_per_minute": 5 });
    let made = gateway.post("/api/v1/tokens", Some(&ann), wish).await.json();
    let token = made["id"].as_str().unwrap();
    let home = format!("/admin/users/{id}/tokens");

    let page = browser.get(&home).await;
    for text in [
        "nightly &lt;docs&gt;",
        "new</span>",
        "ask models, list models · 5 requests a minute",
        "Access tokens 1",
        "never",
    ] {
        page.says(text);
    }
    let all = browser.get("/admin/tokens?status=active").await;
    all.says(&format!("href=\"/admin/users/{id}\">ann@example.org"));
    assert!(!browser.get("/admin/tokens?status=paused").await.has("nightly"));

    // Disabled and enabled, the account is there again, and its access tokens sleep until somebody resumes them.
    browser.post(&format!("/admin/users/{id}/disable"), &[]).await;
    browser.post(&format!("/admin/users/{id}/enable"), &[]).await;
    browser.get(&home).await.says("asleep");
    browser.submit(&format!("/admin/tokens/{token}/resume"), &[]).await.says("nightly &#60;docs&#62; may send again.");

    // Admins change its limits; the form is there again when one of them can't be.
    let path = format!("/admin/tokens/{token}");
    browser.get(&path).await.says("They count besides those of ann@example.org.");
    let bad = browser.post(&path, &[("name", "docs"), ("quotas.tokens_per_day", "0")]).await;
    assert_eq!(bad.status, 400);
    bad.says("href=\"#quotas.tokens_per_day\"");
    let page =
        browser.submit(&path, &[("name", "docs"), ("quotas.tokens_per_day", "50,000"), ("class", "batch")]).await;
    page.says("Saved. Felt on the next request.");
    page.says("class batch");
    page.says("50,000 model tokens a day");

    let sure = browser.get(&format!("/admin/tokens/{token}/revoke")).await;
    sure.says("It ends at once. What it has running is cut off.");
    let page = browser.submit(&format!("/admin/tokens/{token}/revoke"), &[]).await;
    page.says("docs has ended.");
    page.says("revoked");
    assert!(!page.has(&format!("/admin/tokens/{token}/revoke\"")));
    for path in ["nothing/revoke", "nothing/resume"] {
        assert_eq!(browser.post(&format!("/admin/tokens/{path}"), &[]).await.status, 404, "{path}");
    }
}

/// The receipt in the last line of an export as CSV.
fn receipt_of(file: &Page) -> String {
    let last = file.text.lines().last().unwrap();
    let code = last.trim_start_matches('"').strip_prefix("receipt:").unwrap_or_else(|| panic!("no receipt in {last}"));
    code.split('"').next().unwrap().to_owned()
}

/// The form that deletes a person.
fn form<'a>(receipt: &'a str, password: &'a str) -> [(&'static str, &'a str); 2] {
    [("receipt", receipt), ("own_password", password)]
}

#[actix_web::test]
async fn a_person_is_deleted_in_three_steps_on_one_page() {
    let (gateway, admin, mut browser, id) = with_ann().await;
    let ann = gateway.token("ann@example.org", PASSWORD).await;
    assert_eq!(gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status, 200);
    gateway.newest_outcome(&admin, "completed").await;
    let path = format!("/admin/users/{id}/delete");
    let page = browser.get(&path).await;
    page.says("Prompts and answers are erased for good.");
    page.says("After the account is disabled.");
    assert!(!page.has("name=\"receipt\""));

    let page = browser.submit(&format!("/admin/users/{id}/disable"), &[("from", "delete")]).await;
    page.says("Disabled <time");
    page.says("Nothing of ann@example.org runs.");
    let file = browser.post(&format!("/admin/users/{id}/export"), &[("format", "csv")]).await;
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"record.csv\""));
    let page = browser.get(&path).await;
    page.says("1 request, complete today at");
    page.says("It opens the deletion for 14 more minutes.");
    page.says("Delete ann@example.org for good");

    let receipt = receipt_of(&file);
    let wrong = browser.post(&path, &form(&receipt, "a wrong password of mine")).await;
    assert_eq!(wrong.status, 400);
    wrong.says("href=\"#own_password\"");
    wrong.says(&receipt);
    assert_eq!(browser.post(&path, &form("", ADMIN_PASSWORD)).await.status, 400);
    let refused = browser.post(&path, &form("aaaaaaaaaaaaaaaa", ADMIN_PASSWORD)).await;
    assert_eq!(refused.status, 409);
    refused.says("This is not the receipt of a complete export of this person&#39;s record; export");
    refused.says(&format!("action=\"/admin/users/{id}/export\""));
    assert!(!refused.has("name=\"receipt\""));

    let page = browser.submit(&path, &form(&receipt, ADMIN_PASSWORD)).await;
    page.says("ann@example.org is gone. Prompts and answers are being erased.");
    assert_eq!(browser.get(&format!("/admin/users/{id}")).await.status, 404);
}

#[actix_web::test]
async fn an_export_of_a_person_asks_for_the_password_in_its_own_form() {
    let (mut gateway, _, browser, id) = with_ann().await;
    let mut browser = forget_proof(&mut gateway, &browser);
    let path = format!("/admin/users/{id}/export");
    browser.get(&path).await.says("name=\"password_again\"");

    let asked = browser.post(&path, &[("format", "jsonl")]).await;
    asked.says("With it you export all that ann@example.org wrote and got.");
    let wrong = browser.post(&path, &[("format", "jsonl"), ("password_again", "a wrong password of mine")]).await;
    assert_eq!(wrong.status, 400);
    let file = browser.post(&path, &[("format", "jsonl"), ("password_again", ADMIN_PASSWORD)]).await;

    assert!(file.text.lines().last().unwrap().contains("\"receipt\""), "{}", file.text);
    let page = browser.get(&path).await;
    page.says("JSON Lines by admin");
    page.says("0 requests, complete today at");
    assert!(!page.has("name=\"password_again\""));
}

#[actix_web::test]
async fn what_a_filter_finds_is_exported_from_a_page_of_its_own() {
    let (gateway, admin, mut browser, id) = with_ann().await;
    let form = [("user_id", id.as_str()), ("outcome", "failed"), ("model", ""), ("text", "pump"), ("format", "csv")];
    let made = browser.post("/admin/exports", &form).await;
    let path = made.location().to_owned();

    let page = browser.get(&path).await;
    for text in
        ["<dt>Person</dt><dd>ann@example.org", "<dt>Outcome</dt><dd>failed", "<dt>Words</dt><dd>(not kept)", "CSV"]
    {
        page.says(text);
    }
    page.says("It was not read to its end yet: a file of it has no receipt.");
    let file = browser.post(&path, &[("bom", "yes")]).await;
    assert!(file.text.starts_with('\u{feff}'), "{}", file.text);
    browser.get(&path).await.says("0 requests, complete today at");

    assert_eq!(browser.post("/admin/exports", &[("outcomes", "failed")]).await.status, 400);
    // Others see what was made, and can't fetch it.
    gateway.user(&admin, "maria").await;
    let maria = gateway.id_of(&admin, "maria@example.org").await;
    let role = json!({ "role": "admin" }).to_string().into_bytes();
    gateway.send("PATCH", &format!("/api/v1/users/{maria}"), Some(&admin), role).await;
    let mut maria = Browser::of_user(&gateway, "maria").await;
    maria.get(&path).await.says("Only admin can download it.");
    assert_eq!(maria.post(&path, &[]).await.status, 404);
}
