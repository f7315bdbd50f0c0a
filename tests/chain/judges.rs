//! The two verifiers: the gateway's, in this process or as the command, and `examples/verify.py`, one process for many cases.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lan_gateway::model::kept_notes::KeptNotes;
use lan_gateway::store::chain::OwnKey;
use lan_gateway::store::verify::{VerifyWish, verify};
use serde_json::{Value, json};

use crate::support::gateway::binary;

/// What is verified.
pub struct Case {
    pub name: String,
    pub path: PathBuf,
    /// A file of checkpoints that were kept elsewhere.
    pub outside: Option<PathBuf>,
}

impl Case {
    pub fn of(name: &str, path: PathBuf) -> Case {
        Case { name: name.to_owned(), path, outside: None }
    }

    pub fn with(self, outside: PathBuf) -> Case {
        Case { outside: Some(outside), ..self }
    }
}

/// What a verifier says.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub code: i32,
    /// Places and what is wrong there.
    pub faults: Vec<(String, String)>,
    pub said: Vec<String>,
}

impl Verdict {
    fn of(code: i32, said: Vec<String>) -> Verdict {
        let fault = |line: &String| {
            let (place, what) = line.split_once(": ")?;
            let first = place.split(' ').next()?;
            let is_place = ["row", "link", "checkpoint", "tip", "image", "file"].contains(&first);
            is_place.then(|| (place.to_owned(), what.to_owned()))
        };
        Verdict { code, faults: said.iter().filter_map(fault).collect(), said }
    }

    /// The places, each once, in their order.
    pub fn places(&self) -> Vec<&str> {
        let mut places: Vec<&str> = Vec::new();
        for (place, _) in &self.faults {
            if !places.contains(&place.as_str()) {
                places.push(place);
            }
        }
        places
    }
}

pub fn by_gateway(case: &Case) -> Verdict {
    let read = |path: PathBuf| std::fs::read(path).ok().map(|text| KeptNotes::read(&String::from_utf8_lossy(&text)));
    let beside = read(case.path.join("checkpoints.txt"));
    let outside = case.outside.clone().and_then(read).unwrap_or_default();
    let wish = VerifyWish {
        path: &case.path,
        is_in_use: false,
        beside: beside.as_ref(),
        outside: &outside,
        own_key: OwnKey::read(&case.path.join("secrets")),
    };
    let mut said = Vec::new();
    match verify(&wish, &mut |fault| said.push(format!("{}: {}", fault.place, fault.what)), &mut |_| {}) {
        Ok(summary) => {
            let code = i32::from(summary.faults > 0);
            Verdict { said: vec![format!("{summary:?}")], ..Verdict::of(code, said) }
        }
        Err(cause) => Verdict::of(2, vec![format!("{cause:#}")]),
    }
}

pub fn by_command(case: &Case) -> Verdict {
    let mut command = Command::new(binary());
    command.arg("verify").arg(&case.path).args(case.outside.iter().flat_map(|file| [Path::new("--checkpoint"), file]));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Verdict::of(output.status.code().unwrap(), said.lines().map(str::to_owned).collect())
}

/// Has Python verify them all.
pub fn by_python<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<Verdict> {
    let cases: Vec<_> = cases.map(|case| json!({ "path": case.path, "checkpoint": case.outside })).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = root.join(".tools/venv/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    let mut child = Command::new(python)
        .arg(root.join("tests/chain/judge.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(Value::from(cases).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "examples/verify.py needs the package `cryptography`: `make test` installs it");
    let verdicts: Vec<(i32, Vec<String>)> = serde_json::from_slice(&output.stdout).unwrap();
    verdicts.into_iter().map(|(code, said)| Verdict::of(code, said)).collect()
}
