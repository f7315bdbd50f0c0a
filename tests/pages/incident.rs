//! The form for an incident report, and the report that it sends back.

use crate::support::browser::Browser;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{ADMIN_PASSWORD, TestGateway, hello};

/// The number of reports that were made.
fn acts(gateway: &TestGateway) -> String {
    gateway.text_of("SELECT CAST(count(*) AS TEXT) FROM record WHERE act = 'incident_report_made'")
}

#[actix_web::test]
async fn a_report_is_shown_or_saved_and_prompts_need_the_password_again() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let token = gateway.admin().await;
    let ann = gateway.user(&token, "ann").await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let mut admin = Browser::of_admin(&gateway).await;

    admin.open("/admin/record").await.says("href=\"/admin/incident\"");
    admin.open("/admin/incident").await.says("The last hour");
    assert_eq!(acts(&gateway), "0", "a form is no report");
    let shown = admin.post("/admin/incident", &[("from", "-1h"), ("to", "")]).await;
    let saved = admin.post("/admin/incident", &[("from", "-1h"), ("to", ""), ("save", "1")]).await;

    assert_eq!((shown.status, saved.status), (200, 200), "{}", shown.text);
    shown.says("ann@example.org");
    assert!(shown.header("content-disposition").unwrap().starts_with("inline"));
    assert!(saved.header("content-disposition").unwrap().starts_with("attachment"));
    assert!(shown.header("content-security-policy").unwrap().contains("style-src 'unsafe-inline'"));
    assert!(!shown.text.contains("<script") && !shown.text.contains("href="), "{}", shown.text);
    assert_eq!(acts(&gateway), "2");

    // After a restart nobody has given a password lately.
    let session = admin.cookie("lgw_session").unwrap().to_owned();
    gateway.kill();
    gateway.restart();
    let mut admin = Browser::new(&gateway);
    admin.set_cookie("lgw_session", &session);
    admin.open("/admin/incident").await;
    let asked = [("from", "-1h"), ("contents", "1")];
    let confirm = admin.post("/admin/incident", &asked).await;
    confirm.says("Your password again");
    assert_eq!(acts(&gateway), "2");
    let again = [("from", "-1h"), ("contents", "1"), ("password_again", ADMIN_PASSWORD)];
    admin.post("/admin/incident", &again).await.says("How prompts begin");
    assert_eq!(acts(&gateway), "3");

    for (fields, said) in [
        ([("from", "noon"), ("to", "")], "Type a time"),
        ([("from", ""), ("to", "")], "Say when it begins"),
        ([("from", "2026-01-31 14:00"), ("to", "2026-01-31 13:00")], "must be before"),
        ([("from", "-999h"), ("to", "")], "168 hours"),
    ] {
        let page = admin.post("/admin/incident", &fields).await;
        assert_eq!(page.status, 400, "{fields:?}");
        page.says(said);
    }
    assert_eq!(acts(&gateway), "3");
}
