//! A service behind the layer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::{get, put};
use axum::{Extension, Router};
use raceproof::fence::directory::DirectoryFences;
use raceproof::fence::http::{FenceLayer, Fenced, set_fence};
use raceproof::fence::kit::{self, BoxError, Resource, Verdict};
use raceproof::fence::{MemoryFences, Token};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt;

type Cell = Arc<Mutex<Option<String>>>;

/// A handler that others run in the middle of, the more so the older its token.
async fn write(State(value): State<Cell>, Extension(fenced): Extension<Fenced>, body: String) -> String {
    for _ in 0..7 - fenced.token.as_u64() % 7 {
        tokio::task::yield_now().await;
    }
    *value.lock().unwrap() = Some(body);
    format!("{} under {}", fenced.resource, fenced.token)
}

fn routes(value: &Cell) -> Router {
    Router::new()
        .route("/cell", put(write))
        .route("/cell", get(|| async { "anybody may look" }))
        .with_state(value.clone())
}

async fn put_value(app: &Router, headers: &[&str], value: &str) -> (StatusCode, String) {
    let mut request = Request::put("/cell");
    for token in headers {
        request = request.header("raceproof-fence", *token);
    }
    let response = app.clone().oneshot(request.body(Body::from(value.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    if !status.is_success() {
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

struct Service {
    app: Router,
    value: Cell,
    fences: TempDir,
}

impl Service {
    fn start(value: Cell, fences: TempDir) -> Self {
        let app = routes(&value).layer(FenceLayer::by_path(DirectoryFences::new(fences.path())));
        Self { app, value, fences }
    }
}

impl Resource for Service {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        let mut request = Request::put("/cell").body(Body::from(value.to_owned()))?;
        set_fence(request.headers_mut(), token);
        match self.app.clone().oneshot(request).await?.status() {
            StatusCode::OK => Ok(Verdict::Accepted),
            StatusCode::PRECONDITION_FAILED => Ok(Verdict::Refused),
            status => Err(status.to_string().into()),
        }
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        Ok(self.value.lock().unwrap().clone())
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        self.app = routes(&self.value).layer(FenceLayer::by_path(DirectoryFences::new(self.fences.path())));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_a_service_with_slow_handlers_passes_the_kit() {
    let service = Service::start(Cell::default(), tempfile::tempdir().unwrap());
    kit::replay(service, Token::new(1)).await.into_result().unwrap();
}

#[tokio::test(start_paused = true)]
async fn l9_a_newer_request_waits_until_the_older_one_was_answered() {
    let (value, finish) = (Cell::default(), Arc::new(Semaphore::new(0)));
    let hangs = {
        let (value, finish) = (value.clone(), Arc::clone(&finish));
        move |body: String| async move {
            if body == "five" {
                let _may_finish = finish.acquire().await;
            }
            *value.lock().unwrap() = Some(body);
        }
    };
    let app = Router::new().route("/cell", put(hangs)).layer(FenceLayer::by_path(MemoryFences::default()));
    let request = |token: &'static str, body: &'static str| {
        let app = app.clone();
        tokio::spawn(async move { put_value(&app, &[token], body).await.0 })
    };
    let older = request("5", "five");
    tokio::task::yield_now().await;
    let mut newer = request("6", "six");
    assert!(timeout(Duration::from_secs(3600), &mut newer).await.is_err());
    assert_eq!(*value.lock().unwrap(), None);
    finish.add_permits(1);
    assert_eq!((older.await.unwrap(), newer.await.unwrap()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(value.lock().unwrap().as_deref(), Some("six"));
}

#[tokio::test]
async fn l9_who_is_refused_is_told_why_and_the_handler_does_not_run() {
    let value = Cell::default();
    let app = routes(&value).layer(FenceLayer::by_path(MemoryFences::default()));
    assert_eq!(put_value(&app, &["6"], "six").await, (StatusCode::OK, "/cell under 6".to_owned()));
    for (headers, status, code) in [
        (&["5"][..], 412, "fence_stale"),
        (&[], 428, "fence_missing"),
        (&["six"], 400, "fence_malformed"),
        (&["+7"], 400, "fence_malformed"),
        (&["0"], 400, "fence_malformed"),
        (&["9007199254740992"], 400, "fence_malformed"),
        (&["6", "7"], 400, "fence_malformed"),
    ] {
        let (got, body) = put_value(&app, headers, "late").await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((got.as_u16(), &problem["code"], &problem["status"]), (status, &json!(code), &json!(status)));
        if code == "fence_stale" {
            assert_eq!((&problem["token"], &problem["newest"]), (&json!(5), &json!(6)));
        }
    }
    assert_eq!(value.lock().unwrap().as_deref(), Some("six"));
}

#[tokio::test]
async fn a_request_that_changes_nothing_needs_no_token() {
    let app = routes(&Cell::default()).layer(FenceLayer::by_path(MemoryFences::default()));
    let response = app.oneshot(Request::get("/cell").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_fails_lets_nobody_through() {
    let value = Cell::default();
    let app = routes(&value).layer(FenceLayer::by_path(MemoryFences::new(0)));
    let (status, body) = put_value(&app, &["1"], "late").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["code"], "fence_unavailable");
    assert_eq!(*value.lock().unwrap(), None);
}
