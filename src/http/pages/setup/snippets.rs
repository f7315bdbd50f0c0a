//! Set-up of clients as text to paste: filled in with a host, an access token and a model.
//!
//! Hosts are checked where they come in, names of models and access tokens hold no quotes: none of them can end a string.

/// What an access token is mostly for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Chat,
    Embeddings,
    Models,
    Usage,
    /// Nothing that a client of models would do.
    Nothing,
}

/// How an access token stands in a text.
#[derive(Debug, Clone, Copy)]
pub enum TokenWord<'a> {
    Secret(&'a str),
    /// The variable `LGW_TOKEN` of the environment.
    Variable,
}

/// One way to set up a client.
#[derive(Debug, Clone)]
pub struct Snippet {
    /// Its id on the page.
    pub id: &'static str,
    pub title: &'static str,
    /// What to do, before the text.
    pub steps: &'static [&'static str],
    /// Fields to fill in elsewhere: label, value.
    pub fields: Vec<(&'static str, String)>,
    /// Text to paste; empty where there are only fields.
    pub text: String,
    /// What else to know.
    pub after: &'static str,
}

/// Stands for a model's name while none is known.
const MODEL: &str = "MODEL";

const QUESTION: &str = "Explain MQTT";

const N8N_STEPS: &[&str] = &[
    "In n8n, make a credential of the type OpenAI and fill in these two.",
    "In the node OpenAI Chat Model, choose the credential and the model.",
];
const CLAUDE_STEPS: &[&str] = &["Once: npm install -g @anthropic-ai/claude-code. Then, in the folder of your project:"];
const CLAUDE_AFTER: &str =
    "It asks for much at once: the model needs a context of 64,000 tokens or more, which is set on the model server.";
const CODEX_STEPS: &[&str] = &[
    "Once: npm install -g @openai/codex. Save this as ~/.codex/config.toml.",
    "It reads the access token from the variable LGW_TOKEN. Then run codex in the folder of your project.",
];
const WEBUI_STEPS: &[&str] =
    &["Under Admin Panel, Settings, Connections, add an OpenAI API connection with these two."];
const WEBUI_AFTER: &str = "Everybody who uses it is one person here: you, with your limits. An access token of an admin can act for the \
    people who are signed in to it instead.";
const TOOL_STEPS: &[&str] = &[
    "Under Admin Panel, Settings, Connections, add an OpenAI API connection with these two. As its headers, give it the second line \
     below from the first { of headers on.",
    "Start Open WebUI with these in its environment. The first line makes it name who asks, by e-mail address: that must be the name \
     of their account here. The second lets titles, tags and the like be counted apart.",
];
const TOOL_TEXT: &str = "ENABLE_FORWARD_USER_INFO_HEADERS=true\n\
    OPENAI_API_CONFIGS='{\"0\":{\"headers\":{\"X-OpenWebUI-Task\":\"{{TASK}}\"}}}'";
const TOOL_AFTER: &str = "Each person has their own limits and their own record. Nobody else may reach Open WebUI's environment: \
    whoever has this access token can act for everybody. Users must not choose their e-mail address in Open WebUI themselves.";
const CI_STEPS: &[&str] = &[
    "Save the secret as LGW_TOKEN, masked: in GitLab under Settings, CI/CD, Variables; in GitHub or Forgejo under Settings, Secrets.",
    "The runner must stand in this gateway's network. As a job of GitLab CI:",
];

struct Filled<'a> {
    base: &'a str,
    token: &'a TokenWord<'a>,
    model: &'a str,
    purpose: Purpose,
}

/// Returns how a tool is set up that acts for the people who are signed in to it.
pub fn tool_snippets(base: &str, token: &TokenWord<'_>) -> Vec<Snippet> {
    let filled = Filled { base, token, model: MODEL, purpose: Purpose::Chat };
    let fields = filled.fields("URL");
    vec![Snippet {
        steps: TOOL_STEPS,
        fields,
        after: TOOL_AFTER,
        ..plain("open-webui", "Open WebUI", TOOL_TEXT.to_owned())
    }]
}

/// Returns every way that fits the purpose, the plainest first.
pub fn snippets(base: &str, token: &TokenWord<'_>, model: Option<&str>, purpose: Purpose) -> Vec<Snippet> {
    let filled = Filled { base, token, model: model.unwrap_or(MODEL), purpose };
    let mut all = Vec::new();
    if purpose == Purpose::Nothing {
        return all;
    }
    all.push(plain("curl", "curl", filled.curl()));
    all.push(plain("powershell", "PowerShell", filled.powershell()));
    if purpose == Purpose::Usage {
        return all;
    }
    all.push(Snippet { steps: &["Once: pip install openai"], ..plain("python", "Python", filled.python()) });
    all.push(Snippet {
        steps: &["Once: npm install openai. Then save this as ask.mjs and run node ask.mjs."],
        ..plain("node", "Node", filled.node())
    });
    if purpose == Purpose::Chat {
        all.push(Snippet {
            steps: &["Once: pip install ollama"],
            ..plain("ollama", "Ollama’s Python package", filled.ollama())
        });
        let claude = plain("claude-code", "Claude Code", filled.claude_code());
        all.push(Snippet { steps: CLAUDE_STEPS, after: CLAUDE_AFTER, ..claude });
        all.push(Snippet { steps: CODEX_STEPS, ..plain("codex", "Codex", filled.codex()) });
        all.push(Snippet { steps: N8N_STEPS, fields: filled.fields("Base URL"), ..plain("n8n", "n8n", String::new()) });
        let fields = filled.fields("URL");
        let webui = plain("open-webui", "Open WebUI", String::new());
        all.push(Snippet { steps: WEBUI_STEPS, fields, after: WEBUI_AFTER, ..webui });
        all.push(Snippet { steps: CI_STEPS, ..plain("ci", "A CI job", filled.ci_job()) });
    }
    all
}

fn plain(id: &'static str, title: &'static str, text: String) -> Snippet {
    Snippet { id, title, steps: &[], fields: Vec::new(), text, after: "" }
}

impl Filled<'_> {
    fn path(&self) -> &'static str {
        match self.purpose {
            Purpose::Chat => "/v1/chat/completions",
            Purpose::Embeddings => "/v1/embeddings",
            Purpose::Usage => "/api/v1/me/usage",
            Purpose::Models | Purpose::Nothing => "/v1/models",
        }
    }

    /// Returns the token in a string between double quotes, for a shell.
    fn in_shell(&self) -> &str {
        match self.token {
            TokenWord::Secret(secret) => secret,
            TokenWord::Variable => "$LGW_TOKEN",
        }
    }

    fn curl(&self) -> String {
        let (base, path, token, model) = (self.base, self.path(), self.in_shell(), self.model);
        let head = format!("curl --fail-with-body -sS {base}{path} \\\n  -H \"Authorization: Bearer {token}\"");
        let body = match self.purpose {
            Purpose::Chat => {
                format!(
                    "{{\"model\": \"{model}\",\n       \"messages\": [{{\"role\": \"user\", \"content\": \"{QUESTION}\"}}]}}"
                )
            }
            Purpose::Embeddings => format!("{{\"model\": \"{model}\", \"input\": \"{QUESTION}\"}}"),
            _ => return head,
        };
        format!("{head} \\\n  -H \"Content-Type: application/json\" \\\n  -d '{body}'")
    }

    fn powershell(&self) -> String {
        let (base, path, model) = (self.base, self.path(), self.model);
        let token = match self.token {
            TokenWord::Secret(secret) => format!("'Bearer {secret}'"),
            TokenWord::Variable => "\"Bearer $env:LGW_TOKEN\"".to_owned(),
        };
        let headers = format!("$headers = @{{ Authorization = {token} }}\n");
        let (body, shown) = match self.purpose {
            Purpose::Chat => {
                (format!("@{{ role = 'user'; content = '{QUESTION}' }}"), "$answer.choices[0].message.content")
            }
            Purpose::Embeddings => (String::new(), "$answer.data[0].embedding"),
            Purpose::Models => return format!("{headers}(Invoke-RestMethod '{base}{path}' -Headers $headers).data.id"),
            _ => return format!("{headers}(Invoke-RestMethod '{base}{path}' -Headers $headers).items"),
        };
        let body = if body.is_empty() {
            format!("$body = @{{ model = '{model}'; input = '{QUESTION}' }} | ConvertTo-Json\n")
        } else {
            format!("$body = @{{\n    model    = '{model}'\n    messages = @({body})\n}} | ConvertTo-Json -Depth 10\n")
        };
        format!(
            "{headers}{body}$answer = Invoke-RestMethod '{base}{path}' -Method Post -Headers $headers `\n    \
             -ContentType 'application/json; charset=utf-8' -Body $body\n{shown}"
        )
    }

    fn python(&self) -> String {
        let (base, model) = (self.base, self.model);
        let (import, token) = match self.token {
            TokenWord::Secret(secret) => ("", format!("\"{secret}\"")),
            TokenWord::Variable => ("import os\n", "os.environ[\"LGW_TOKEN\"]".to_owned()),
        };
        let ask = match self.purpose {
            Purpose::Embeddings => format!(
                "answer = client.embeddings.create(model=\"{model}\", input=\"{QUESTION}\")\n\
                 print(answer.data[0].embedding)"
            ),
            Purpose::Models => "print([model.id for model in client.models.list()])".to_owned(),
            _ => format!(
                "answer = client.chat.completions.create(\n    model=\"{model}\",\n    \
                 messages=[{{\"role\": \"user\", \"content\": \"{QUESTION}\"}}],\n)\n\
                 print(answer.choices[0].message.content)"
            ),
        };
        format!("{import}from openai import OpenAI\n\nclient = OpenAI(base_url=\"{base}/v1\", api_key={token})\n{ask}")
    }

    fn node(&self) -> String {
        let (base, model) = (self.base, self.model);
        let token = match self.token {
            TokenWord::Secret(secret) => format!("\"{secret}\""),
            TokenWord::Variable => "process.env.LGW_TOKEN".to_owned(),
        };
        let ask = match self.purpose {
            Purpose::Embeddings => format!(
                "const answer = await client.embeddings.create({{ model: \"{model}\", input: \"{QUESTION}\" }});\n\
                 console.log(answer.data[0].embedding);"
            ),
            Purpose::Models => "for await (const model of client.models.list()) console.log(model.id);".to_owned(),
            _ => format!(
                "const answer = await client.chat.completions.create({{\n  model: \"{model}\",\n  \
                 messages: [{{ role: \"user\", content: \"{QUESTION}\" }}],\n}});\n\
                 console.log(answer.choices[0].message.content);"
            ),
        };
        format!(
            "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{ baseURL: \"{base}/v1\", apiKey: {token} }});\n{ask}"
        )
    }

    fn ollama(&self) -> String {
        let (base, model) = (self.base, self.model);
        let (import, token) = match self.token {
            TokenWord::Secret(secret) => ("", format!("\"Bearer {secret}\"")),
            TokenWord::Variable => ("import os\n", "\"Bearer \" + os.environ[\"LGW_TOKEN\"]".to_owned()),
        };
        format!(
            "{import}from ollama import Client\n\n\
             client = Client(host=\"{base}\", headers={{\"Authorization\": {token}}})\n\
             answer = client.chat(\n    model=\"{model}\",\n    \
             messages=[{{\"role\": \"user\", \"content\": \"{QUESTION}\"}}],\n)\n\
             print(answer.message.content)"
        )
    }

    fn claude_code(&self) -> String {
        let (base, token, model) = (self.base, self.in_shell(), self.model);
        format!(
            "export ANTHROPIC_BASE_URL={base}\nexport ANTHROPIC_AUTH_TOKEN={token}\nexport ANTHROPIC_MODEL={model}\n\
             export ANTHROPIC_DEFAULT_HAIKU_MODEL={model}\nexport CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1\nclaude"
        )
    }

    fn codex(&self) -> String {
        let (base, model) = (self.base, self.model);
        format!(
            "model = \"{model}\"\nmodel_provider = \"gateway\"\n\n[model_providers.gateway]\nname = \"Gateway\"\n\
             base_url = \"{base}/v1\"\nenv_key = \"LGW_TOKEN\"\nwire_api = \"responses\""
        )
    }

    /// Returns what a program with a form of its own asks for.
    fn fields(&self, address: &'static str) -> Vec<(&'static str, String)> {
        let key = match self.token {
            TokenWord::Secret(secret) => (*secret).to_owned(),
            TokenWord::Variable => "your access token".to_owned(),
        };
        vec![(address, format!("{}/v1", self.base)), ("API key", key)]
    }

    fn ci_job(&self) -> String {
        let (base, model, path) = (self.base, self.model, self.path());
        format!(
            r#"summarize:
  image: alpine:3
  script:
    - apk add --no-cache curl git jq
    - |
      answer=$(git log -1 --format=%B |
        jq -Rs '{{model: "{model}", max_tokens: 200, messages: [
          {{role: "user", content: ("Summarize in one sentence: " + .)}}]}}' |
        curl --fail-with-body -sS --retry 5 --retry-max-time 300 {base}{path} \
          -H "Authorization: Bearer $LGW_TOKEN" \
          -H "Content-Type: application/json" -d @-) || {{ printf '%s\n' "$answer"; exit 1; }}
      printf %s "$answer" | jq -r '.choices[0].message.content'"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "lgw_m_4sTq9ZbM1x_Vq7c";

    fn all(token: &TokenWord<'_>, purpose: Purpose) -> Vec<Snippet> {
        snippets("http://gpu-box.lan:7000", token, Some("llama3.2:latest"), purpose)
    }

    #[test]
    fn each_way_is_filled_in_with_host_secret_and_model() {
        for one in all(&TokenWord::Secret(SECRET), Purpose::Chat) {
            let written = format!("{}{:?}", one.text, one.fields);
            // These two add the path themselves.
            let base = if ["ollama", "claude-code"].contains(&one.id) { "lan:7000" } else { "lan:7000/v1" };
            assert!(written.contains(&format!("http://gpu-box.{base}")), "{}", one.title);
            // These two keep their secret elsewhere.
            assert_eq!(written.contains(SECRET), !["ci", "codex"].contains(&one.id), "{}", one.title);
            assert!(one.text.is_empty() || one.text.contains("llama3.2:latest"), "{}", one.title);
        }
    }

    #[test]
    fn a_tool_that_acts_for_people_is_told_to_name_them() {
        let [webui] = &tool_snippets("http://gpu-box.lan:7000", &TokenWord::Secret(SECRET))[..] else {
            panic!("one way is known")
        };

        assert!(format!("{:?}", webui.fields).contains(SECRET));
        assert!(webui.text.contains("ENABLE_FORWARD_USER_INFO_HEADERS=true") && webui.text.contains("{{TASK}}"));
    }

    #[test]
    fn without_a_secret_each_way_reads_it_where_its_language_does() {
        let texts = all(&TokenWord::Variable, Purpose::Chat);
        let of = |id: &str| texts.iter().find(|one| one.id == id).unwrap().text.clone();

        assert!(of("curl").contains("\"Authorization: Bearer $LGW_TOKEN\""));
        assert!(of("powershell").contains("\"Bearer $env:LGW_TOKEN\""));
        assert!(of("python").contains("api_key=os.environ[\"LGW_TOKEN\"]") && of("python").starts_with("import os\n"));
        assert!(of("node").contains("apiKey: process.env.LGW_TOKEN"));
        assert!(of("ollama").contains("\"Bearer \" + os.environ[\"LGW_TOKEN\"]"));
        assert!(of("claude-code").contains("ANTHROPIC_AUTH_TOKEN=$LGW_TOKEN"));
        assert!(of("codex").contains("env_key = \"LGW_TOKEN\""));
    }

    #[test]
    fn a_token_is_shown_what_it_may_do_and_nothing_else() {
        const CHAT: [&str; 10] =
            ["curl", "powershell", "python", "node", "ollama", "claude-code", "codex", "n8n", "open-webui", "ci"];
        let titles = |purpose| all(&TokenWord::Variable, purpose).iter().map(|one| one.id).collect::<Vec<_>>();

        assert_eq!(titles(Purpose::Chat), CHAT);
        assert_eq!(titles(Purpose::Embeddings), ["curl", "powershell", "python", "node"]);
        assert_eq!(titles(Purpose::Models), ["curl", "powershell", "python", "node"]);
        assert_eq!(titles(Purpose::Usage), ["curl", "powershell"]);
        assert!(titles(Purpose::Nothing).is_empty());
        for (purpose, path) in [(Purpose::Embeddings, "/v1/embeddings"), (Purpose::Usage, "/api/v1/me/usage")] {
            assert!(all(&TokenWord::Variable, purpose)[0].text.contains(path));
        }
    }
}
