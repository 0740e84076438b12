use std::collections::BTreeSet;

use super::*;

fn refused(method: &str, path: &str) -> Refused {
    find(Door::Control, method, path).err().expect("no route")
}

#[test]
fn no_two_routes_are_one() {
    let routes: BTreeSet<String> = ALL.iter().map(|row| format!("{} {}", row.method(), row.path())).collect();
    assert_eq!(routes.len(), ALL.len());
    for row in ALL {
        assert_eq!(row.path().contains('{'), row.takes() == Takes::Parameter, "{}", row.path());
        assert!(row.path().split_once('{').is_none_or(|(_, name)| name.ends_with('}')), "{}", row.path());
    }
}

#[test]
fn a_path_that_no_route_has_is_404_with_all_routes() {
    let list = "GET /v1/status, GET /v1/explain/{vip}, GET /v1/events, GET /v1/events/stream, GET /metrics, GET /, \
                POST /v1/drain, POST /v1/undrain, POST /v1/force-up, POST /v1/force-down, POST /v1/clear, POST /v1/promote, \
                POST /v1/reload, POST /v1/reload/preview, POST /v1/restart, POST /v1/upgrade";
    for path in ["/v1/nothing", "/v1/explain", "/v1/status/", "//", ""] {
        let refusal = Refusal::new(format!("there is no GET {path}"), list);
        assert_eq!(refused("GET", path), Refused::new(Why::NotFound, refusal));
    }
}

#[test]
fn over_tcp_there_is_nothing_but_to_read_and_for_prometheus_nothing_but_metrics() {
    let offered = |door: Door| -> Vec<&str> {
        let rows = ALL.iter().filter(|row| find(door, &row.method().to_string(), row.path()).is_ok());
        rows.map(|row| row.path()).collect()
    };
    assert_eq!(offered(Door::Control).len(), ALL.len());
    let reads = ["/v1/status", "/v1/explain/{vip}", "/v1/events", "/v1/events/stream", "/metrics", "/"];
    assert_eq!(offered(Door::Api), reads);
    assert_eq!(offered(Door::Metrics), ["/metrics"]);
    let drain = find(Door::Api, "POST", "/v1/drain").err().expect("nobody drains over TCP");
    assert_eq!(drain.why, Why::NotFound);
}

#[test]
fn another_method_is_405_with_those_that_the_path_has() {
    let refusal = Refusal::new("there is no DELETE /v1/explain/::1", "GET /v1/explain/{vip}");
    let expected = Refused::new(Why::NotAllowed("GET".to_owned()), refusal);
    assert_eq!(refused("DELETE", "/v1/explain/::1"), expected);
    let refusal = Refusal::new("there is no get /v1/drain", "POST /v1/drain");
    assert_eq!(refused("get", "/v1/drain"), Refused::new(Why::NotAllowed("POST".to_owned()), refusal));
}

#[test]
fn what_the_client_sends_is_what_the_server_reads() {
    let vip: IpNet = "2001:db8::/48".parse().unwrap();
    let (parameter, body) = vip.write().unwrap();
    let target = EXPLAIN.target(&parameter);
    let (row, found) = find(Door::Control, "GET", &target).expect("a route");
    assert_eq!((row.path(), IpNet::read(found, &body)), ("/v1/explain/{vip}", Ok(vip)));
    let request = ServicesRequest { services: super::super::api::Services::All, reason: None };
    let (_, body) = request.write().unwrap();
    assert_eq!(ServicesRequest::read("", &body), Ok(request));
}
