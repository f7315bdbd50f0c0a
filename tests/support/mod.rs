//! What the tests share: a gateway in a process of its own, and a scripted Ollama.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod authority;
pub mod browser;
pub mod declared;
pub mod eventually;
pub mod fake_ollama;
pub mod faults;
pub mod gateway;
pub mod mail_sink;
pub mod tls_front;
pub mod webhook_sink;
