use std::time::Duration;

use super::*;
use crate::model::record::Outcome;

pub fn metrics() -> Metrics {
    Metrics::new(&LabelValues {
        apis: vec!["/chat", "/v1"],
        inference: vec!["/chat"],
        routes: vec!["/a/{id}", "/b", "/b"],
        upstreams: vec!["local".to_owned()],
    })
    .unwrap()
}

fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.text(&MetricsLook::default()).unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn an_end_counts_under_its_outcome_reason_model_and_times() {
    let metrics = metrics();
    let model = metrics.requests.model("llama3.2:latest");

    metrics.requests.ended(&RequestEnd {
        api: Some("/chat"),
        outcome: Some(Outcome::Failed),
        reason: Some("upstream_error"),
        model: Some(model),
        upstream: Some("local"),
        tokens_in: 7,
        tokens_out: 11,
        gpu: Duration::from_millis(1500),
        queued: Some(Duration::from_millis(30)),
        first_token: None,
        total: Some(Duration::from_secs(2)),
    });
    metrics.requests.ended(&RequestEnd {
        api: Some("/something/else"),
        outcome: Some(Outcome::Refused),
        reason: Some("a new reason"),
        ..RequestEnd::default()
    });

    for (series, wanted) in [
        ("lan_gateway_requests_total{api=\"/chat\",outcome=\"failed\"}", "1"),
        ("lan_gateway_requests_total{api=\"/v1\",outcome=\"failed\"}", "0"),
        ("lan_gateway_requests_total{api=\"other\",outcome=\"refused\"}", "1"),
        ("lan_gateway_failures_total{reason=\"upstream_error\"}", "1"),
        ("lan_gateway_refusals_total{reason=\"upstream_error\"}", "0"),
        ("lan_gateway_refusals_total{reason=\"other\"}", "1"),
        ("lan_gateway_model_tokens_total{direction=\"in\",model=\"llama3.2:latest\"}", "7"),
        ("lan_gateway_model_tokens_total{direction=\"out\",model=\"llama3.2:latest\"}", "11"),
        ("lan_gateway_gpu_seconds_total{model=\"llama3.2:latest\",upstream=\"local\"}", "1.5"),
        ("lan_gateway_queue_wait_seconds_bucket{api=\"/chat\",le=\"0.05\"}", "1"),
        ("lan_gateway_first_token_seconds_count{api=\"/chat\"}", "0"),
        ("lan_gateway_request_duration_seconds_sum{api=\"/chat\"}", "2"),
    ] {
        assert_eq!(value(&metrics, series).as_deref(), Some(wanted), "{series}");
    }
}

#[test]
fn answers_count_under_the_pattern_of_their_route_and_a_class_of_status() {
    let metrics = metrics();
    for (route, status) in [
        (Some("/a/{id}"), Some(200)),
        (Some("/a/{id}"), Some(204)),
        (Some("/b"), Some(999)),
        (Some("/no/such/route"), Some(404)),
        (None, Some(404)),
        (None, None),
    ] {
        metrics.routes.answered(route, status);
    }

    for (labels, wanted) in [
        ("route=\"/a/{id}\",status=\"2xx\"", "2"),
        ("route=\"/b\",status=\"5xx\"", "1"),
        ("route=\"unmatched\",status=\"4xx\"", "2"),
        ("route=\"unmatched\",status=\"none\"", "1"),
    ] {
        let series = format!("lan_gateway_http_requests_total{{{labels}}}");
        assert_eq!(value(&metrics, &series).as_deref(), Some(wanted), "{series}");
    }
}

#[test]
fn what_is_not_known_is_not_a_number() {
    let metrics = metrics();

    assert_eq!(value(&metrics, "lan_gateway_disk_free_bytes").as_deref(), Some("NaN"));
    assert_eq!(value(&metrics, "lan_gateway_can_record").as_deref(), Some("0"));
}
