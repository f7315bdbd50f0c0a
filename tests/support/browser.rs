//! A browser as far as pages need one: it keeps cookies, names its origin with forms, and carries the session's field.

use std::collections::BTreeMap;
use std::sync::Arc;

use awc::http::header::HeaderMap;

use tokio_rustls::rustls::ClientConfig;

use super::gateway::{ADMIN_PASSWORD, PASSWORD, TestGateway, client, client_of_https};

pub struct Browser {
    url: String,
    cookies: BTreeMap<String, String>,
    /// The session's field, as of the last page that had one.
    form_token: String,
    /// How https is trusted.
    trusts: Option<Arc<ClientConfig>>,
    /// What a proxy adds to each request.
    added: Vec<(&'static str, &'static str)>,
}

pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("{} leads nowhere: {}", self.status, self.text))
    }

    pub fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// Fails with the page unless it says `text`.
    pub fn says(&self, text: &str) {
        assert!(self.has(text), "no {text:?} in the {} page:\n{}", self.status, self.text);
    }

    /// Returns what stands between `before` and `after`.
    pub fn between(&self, before: &str, after: &str) -> &str {
        let rest = self.text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {}", self.text)).1;
        rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} after {before:?}")).0
    }
}

impl Browser {
    pub fn new(gateway: &TestGateway) -> Browser {
        let (url, trusts) = (gateway.url.clone(), gateway.trusts());
        Browser { url, cookies: BTreeMap::new(), form_token: String::new(), trusts, added: Vec::new() }
    }

    /// From now on a proxy stands in between, which adds these headers. With `https` it speaks that with the browser.
    pub fn behind(&mut self, scheme: &str, headers: &[(&'static str, &'static str)]) {
        self.url = self.url.replace("http://", &format!("{scheme}://"));
        self.added = headers.to_vec();
    }

    /// A browser in which the admin has signed in. The first password was changed before.
    pub async fn of_admin(gateway: &TestGateway) -> Browser {
        Browser::of(gateway, "admin", ADMIN_PASSWORD).await
    }

    /// A browser in which `name@example.org` has signed in.
    pub async fn of_user(gateway: &TestGateway, name: &str) -> Browser {
        Browser::of(gateway, &format!("{name}@example.org"), PASSWORD).await
    }

    pub async fn of(gateway: &TestGateway, username: &str, password: &str) -> Browser {
        let mut browser = Browser::new(gateway);
        let page = browser.sign_in(username, password).await;
        assert_eq!(page.status, 303, "{}", page.text);
        // A page of the session has its field.
        browser.get("/me").await;
        browser
    }

    pub async fn sign_in(&mut self, username: &str, password: &str) -> Page {
        self.post("/sign-in", &[("username", username), ("password", password)]).await
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, &[], String::new()).await
    }

    /// Gets a page, and what it leads to.
    pub async fn open(&mut self, path: &str) -> Page {
        let mut page = self.get(path).await;
        for _ in 0..5 {
            if page.status != 303 {
                break;
            }
            let next = page.location().to_owned();
            page = self.get(&next).await;
        }
        page
    }

    /// Sends a form as the page would: with the session's field and the page's origin.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.form_token.clone();
        let own = [("csrf", token.as_str())];
        let fields = own.iter().filter(|(_, token)| !token.is_empty()).chain(fields);
        let origin = self.url.clone();
        self.send("POST", path, &[("origin", &origin)], form(fields)).await
    }

    /// Sends a form, and gets the page that it leads to.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.post(path, fields).await;
        if page.status != 303 {
            return page;
        }
        let next = page.location().to_owned();
        self.open(&next).await
    }

    /// Sends whatever it is told, with the cookies.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Page {
        let client = self.trusts.clone().map_or_else(client, client_of_https);
        let url = if self.added.is_empty() { self.url.clone() } else { self.url.replace("https://", "http://") };
        let mut request = client.request(method.parse().unwrap(), format!("{url}{path}"));
        for header in &self.added {
            request = request.insert_header(*header);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.insert_header(("cookie", cookies.join("; ")));
        }
        request = request.insert_header(("accept", "text/html,*/*"));
        if method == "POST" {
            request = request.insert_header(("content-type", "application/x-www-form-urlencoded"));
        }
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let mut response = request.send_body(body).await.unwrap_or_else(|cause| panic!("{method} {path}: {cause}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = String::from_utf8(response.body().limit(64 << 20).await.unwrap().to_vec()).unwrap();
        self.keep_cookies(&headers);
        if let Some((_, rest)) = text.split_once("name=\"csrf\" value=\"") {
            self.form_token = rest.split('"').next().unwrap_or_default().to_owned();
        }
        Page { status, headers, text }
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap_or_default();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Writes fields as a form does.
pub fn form<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    form.finish()
}
