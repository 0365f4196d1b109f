//! `/openapi.json` is true: what is sent and answered is what it says, field by field.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Reply, Running, call, receive, send, start};

/// What `/openapi.json` says.
pub(crate) struct Description(Value);

impl Description {
    pub(crate) async fn of(server: &Running) -> Self {
        Self(server.get("/openapi.json").await.json())
    }

    /// Every call: its method, its path's pattern, and what is said of it.
    fn calls(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, call)| (method.as_str(), path.as_str(), call))
        })
    }

    /// What is said of the call that a request is.
    fn call(&self, method: &str, path: &str) -> &Value {
        let path = path.split('?').next().unwrap();
        let is_of = |pattern: &str| {
            pattern.split('/').count() == path.split('/').count()
                && pattern.split('/').zip(path.split('/')).all(|(said, part)| said.starts_with('{') || said == part)
        };
        let mut found = self.calls().filter(|(of, pattern, _)| of.eq_ignore_ascii_case(method) && is_of(pattern));
        found.next().unwrap_or_else(|| panic!("{method} {path} is not described")).2
    }

    /// Checks a request's body and query.
    #[track_caller]
    pub(crate) fn check_request(&self, method: &str, path: &str, body: Option<&str>) {
        let call = self.call(method, path);
        let schema = &call["requestBody"]["content"]["application/json"]["schema"];
        match body {
            Some(body) => {
                let body = serde_json::from_str(body).unwrap();
                self.check(schema, &body).unwrap_or_else(|why| panic!("{method} {path} {body}: {why}"));
            }
            None => assert!(schema.is_null(), "{method} {path} takes a body"),
        }
        let said: Vec<_> = call["parameters"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
        for (name, _) in
            path.split_once('?').map_or("", |(_, query)| query).split('&').filter_map(|q| q.split_once('='))
        {
            assert!(said.contains(&&json!(name)), "{method} {path}: {name} is not described");
        }
    }

    /// Checks an answer.
    #[track_caller]
    pub(crate) fn check_reply(&self, method: &str, path: &str, reply: &Reply) {
        let responses = &self.call(method, path)["responses"];
        let status = reply.status.to_string();
        let said = responses.get(&status).filter(|_| reply.status < 400).or_else(|| responses.get("default"));
        let said = said.unwrap_or_else(|| panic!("{method} {path}: no {status} is described"));
        let Some(kinds) = said["content"].as_object() else {
            return assert_eq!(reply.body, "", "{method} {path}: a body that is not described");
        };
        let kind = reply.header("content-type").unwrap().split(';').next().unwrap();
        let content = kinds.get(kind).unwrap_or_else(|| panic!("{method} {path}: {kind} is not described"));
        let body = if kind.ends_with("json") { reply.json() } else { json!(reply.body) };
        self.check(&content["schema"], &body).unwrap_or_else(|why| panic!("{method} {path} {body}: {why}"));
    }

    /// Whether a value is what a schema says, with nothing left out and nothing beyond it.
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            return self.check(&self.0["components"]["schemas"][name], value).map_err(|why| format!("{name}: {why}"));
        }
        if let Some(any) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let fits = any.iter().any(|one| self.check(one, value).is_ok());
            return if fits { Ok(()) } else { Err(format!("{value} is none of {any:?}")) };
        }
        for one in schema["allOf"].as_array().into_iter().flatten() {
            self.check(one, value)?;
        }
        let kinds: Vec<&Value> =
            schema["type"].as_array().map_or_else(|| vec![&schema["type"]], |all| all.iter().collect());
        let fits = |kind: &&Value| match kind.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64() || value.is_i64(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            Some(other) => panic!("a type {other} in {schema}"),
            None => true,
        };
        if !kinds.iter().any(fits) {
            return Err(format!("{value} is not of type {}", schema["type"]));
        }
        if let Some(names) = schema["enum"].as_array()
            && !names.contains(value)
        {
            return Err(format!("{value} is not one of {names:?}"));
        }
        if let (Some(least), Some(number)) = (schema["minimum"].as_u64(), value.as_u64())
            && number < least
        {
            return Err(format!("{number} is less than {least}"));
        }
        for item in value.as_array().into_iter().flatten() {
            self.check(&schema["items"], item)?;
        }
        if let (Some(fields), Some(said)) = (value.as_object(), schema["properties"].as_object()) {
            for (name, field) in fields {
                let said = said.get(name).ok_or_else(|| format!("the field {name} is not described"))?;
                self.check(said, field).map_err(|why| format!("{name}: {why}"))?;
            }
            let needed = schema["required"].as_array().into_iter().flatten();
            if let Some(left_out) = needed.map(|name| name.as_str().unwrap()).find(|name| !fields.contains_key(*name)) {
                return Err(format!("the field {left_out} is left out"));
            }
        }
        Ok(())
    }
}

/// A server whose every answer is held against its description.
struct Described {
    server: Running,
    description: Description,
}

impl Described {
    async fn start() -> Self {
        let server = start().await;
        let description = Description::of(&server).await;
        Self { server, description }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let body = body.map(|body| body.to_string());
        self.description.check_request(method, path, body.as_deref());
        let reply = call(self.server.addr, method, path, "", body.as_deref().map(str::as_bytes)).await;
        self.description.check_reply(method, path, &reply);
        reply
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, Some(body)).await
    }

    async fn session(&self, name: &str, ttl_ms: u64) -> String {
        let opened =
            self.post("/v1/sessions", json!({ "name": name, "ttl_ms": ttl_ms, "on_disconnect": "keep" })).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        opened.json()["session"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn sessions_and_elections_are_answered_as_they_are_described() {
    let hub = Described::start().await;
    let (a, b) = (hub.session("a", 60_000).await, hub.session("b", 60_000).await);
    assert_eq!(hub.ask("POST", &format!("/v1/sessions/{a}/keepalive"), None).await.status, 200);
    assert_eq!(hub.get("/v1/sessions?limit=1&prefix=").await.json()["next"], "1");
    let stand =
        |session: &str| json!({ "session": session, "value": "10.0.0.1:80", "wait_ms": 60_000, "request": "r" });
    let leader = hub.post("/v1/elections/e/campaign", stand(&a)).await.json();
    let path = "/v1/elections/e/campaign";
    let mut stands = send(hub.server.addr, "POST", path, "", Some(stand(&b).to_string().as_bytes())).await;
    hub.server.until("/v1/elections/e", |election| election["candidates"][0]["request"] == "r").await;
    assert_eq!(hub.get("/v1/elections/e").await.status, 200);
    let resign = json!({ "session": a, "term": leader["term"], "to": 2 });
    assert_eq!(hub.post("/v1/elections/e/resign", resign).await.status, 200);
    hub.description.check_reply("POST", path, &receive(&mut stands).await);
    assert_eq!(hub.get("/v1/elections/nobody").await.json()["leader"], json!(null));
    assert_eq!(hub.ask("DELETE", &format!("/v1/sessions/{a}"), None).await.status, 204);
    hub.ask("DELETE", &format!("/v1/sessions/{a}"), None).await.problem(404, "session_unknown");
}

#[tokio::test]
async fn locks_are_answered_as_they_are_described() {
    let hub = Described::start().await;
    let (a, b) = (hub.session("a", 60_000).await, hub.session("b", 60_000).await);
    let whole = json!({ "session": a, "mode": "exclusive", "wait_ms": 0, "class": "durable", "request": "r", "priority": 7,
        "lock_delay_ms": 5, "owner": "o" });
    let token = hub.post("/v1/locks/x/acquire", whole).await.json()["token"].clone();
    hub.post("/v1/locks/shared/acquire", json!({ "session": a, "mode": "shared" })).await;
    hub.post("/v1/locks/pool/acquire", json!({ "session": a, "permits": 3, "take": 2 })).await;
    assert_eq!(hub.post("/v1/acquire", json!({ "session": b, "names": ["y", "z"] })).await.status, 200);
    hub.post("/v1/locks/x/acquire", json!({ "session": b })).await.problem(409, "lock_held");
    for checked in [token.clone(), json!(99)] {
        assert_eq!(hub.post("/v1/locks/x/check", json!({ "token": checked })).await.status, 200);
    }
    assert_eq!(hub.post("/v1/locks/nobody/check", json!({ "token": 1 })).await.json()["newest"], json!(null));

    let body = json!({ "session": b, "wait_ms": 60_000, "request": "w", "owner": "p" });
    let path = "/v1/locks/x/acquire";
    let mut waits = send(hub.server.addr, "POST", path, "", Some(body.to_string().as_bytes())).await;
    hub.server.until("/v1/locks/x", |lock| lock["waiters_count"] == 1).await;
    assert_eq!(hub.get("/v1/locks?prefix=&limit=100&after=a").await.json()["locks"][2]["waiters_count"], 1);
    let why = json!({ "session": b, "request": "w" });
    assert_eq!(hub.post("/v1/locks/x/why", why.clone()).await.status, 200);
    assert_eq!(hub.get(&format!("/v1/locks/x/why?session={b}&request=w")).await.status, 200);
    let y = json!({ "session": b, "wait_ms": 0, "owner": "p" });
    hub.post("/v1/locks/y/acquire", y).await.problem(409, "lock_held");
    assert_eq!(hub.post("/v1/cancel", why).await.status, 200);
    let cancelled = receive(&mut waits).await;
    hub.description.check_reply("POST", path, &cancelled);
    cancelled.problem(409, "cancelled");
    let itself = json!({ "session": a, "wait_ms": 60_000, "owner": "o" });
    let cycle = hub.post(path, itself).await.problem(409, "deadlock");
    assert_eq!(cycle["cycle"][0]["owner"], "o");

    let release = json!({ "session": a, "token": token });
    assert_eq!(hub.post("/v1/locks/x/release", release).await.status, 200);
    assert_eq!(hub.ask("POST", "/v1/locks/y/steal", None).await.json()["tokens"].as_array().unwrap().len(), 1);
    let short = hub.session("short", 100).await;
    hub.post("/v1/locks/closed/acquire", json!({ "session": short, "lock_delay_ms": 60_000 })).await;
    hub.server.until("/v1/locks/closed", |lock| lock["delay_left_ms"].is_u64()).await;
    assert_eq!(hub.get("/v1/locks/closed").await.status, 200);
}

#[tokio::test]
async fn every_call_is_described_once_and_whole() {
    let hub = Described::start().await;
    let mut ids = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for (method, path, call) in hub.description.calls() {
        let id = call["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{method} {path}: another call is {id}, too");
        assert!(!call["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        let named = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
        let parameters = call["parameters"].as_array().cloned().unwrap_or_default();
        for name in named {
            assert!(parameters.iter().any(|one| one["name"] == name && one["in"] == "path"), "{method} {path}: {name}");
        }
        calls.insert(format!("{} {path}", method.to_uppercase()));
    }
    // The tables of the protocol's document have the same calls.
    let rows = include_str!("../../../../docs/protocol.md").lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let named = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned);
    let documented: BTreeSet<String> =
        named.filter(|call| ["GET /", "POST /", "DELETE /"].iter().any(|method| call.starts_with(method))).collect();
    assert_eq!(calls, documented);
}

#[tokio::test]
async fn what_needs_a_token_says_so() {
    let hub = Described::start().await;
    let either = json!([{}, { "token": [] }]);
    assert_eq!(hub.description.0["security"], either);
    assert_eq!(hub.description.0["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (method, path, call) in hub.description.calls() {
        let open = ["/", "/healthz", "/readyz", "/openapi.json"].contains(&path);
        assert_eq!(call["security"], if open { json!([{}]) } else { json!(null) }, "{method} {path}");
        if open {
            assert_eq!(hub.get(path).await.status, 200);
        }
    }
    hub.get("/metrics").await;
    hub.get("/v1/ws").await.problem(400, "bad_request");
}
