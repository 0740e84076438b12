//! The `decode` example: lines in, exactly these lines out.

#[path = "../examples/decode/json.rs"]
mod json;
#[path = "../examples/decode/lines.rs"]
mod lines;

/// The output for `input` with `options`.
fn decode(options: &[&str], input: &[u8]) -> String {
    let context = lines::context(options.iter().map(|option| (*option).to_owned())).expect("known options");
    let mut output = Vec::new();
    lines::decode(input, &mut output, context).expect("memory can be written");
    String::from_utf8(output).expect("JSON is text")
}

/// A message of type `kind` with `body`, as a line.
fn message(kind: u8, body: &str) -> String {
    let body: String = body.split_whitespace().collect();
    format!("{}{:04x}{kind:02x}{body}", "f".repeat(32), 19 + body.len() / 2)
}

fn update(attributes: &str, nlri: &str) -> String {
    let attributes: String = attributes.split_whitespace().collect();
    message(2, &format!("0000 {:04x} {attributes} {nlri}", attributes.len() / 2))
}

const MANDATORY: &str = "400101 00 400206 0201 0000fde9 400304 0a000102";

#[test]
fn every_message_shows_complete() {
    let table: &[(&[&str], String, &str)] = &[
        (&[], message(4, ""), r#"{"type":"keepalive"}"#),
        (
            &[],
            message(
                1,
                "04 5ba0 005a 0a000102 2d 0218 0104 00020001 4006 c078 0001 01 80 0506 0001 0001 0002 4600
                 0211 4104 00011170 4909 03746f72 04 72616b31",
            ),
            r#"{"type":"open","asn":70000,"my_as":23456,"hold_time":90,"router_id":"10.0.1.2","capabilities":[{"multiprotocol":"ipv6-unicast"},{"graceful-restart":{"families":[{"family":"ipv4-unicast","forwarding":true}],"notification":true,"restart_time":120,"restarting":true}},{"extended-next-hop":[{"family":"ipv4-unicast","next_hop":"ipv6"}]},{"enhanced-route-refresh":true},{"four-octet-as":70000},{"unknown":{"code":73,"data":"03746f720472616b31","name":"fqdn"}}]}"#,
        ),
        (
            &["--ibgp"],
            update(
                &format!(
                    "{MANDATORY} 800404 00000064 400504 000000c8 400600 c00708 00011170 0a000102
                     c0080c fde90064 ffff0000 ffffff01 800904 0a000103 800a04 0a000104
                     c01008 0002fde900000064 c01703 0001ff c0200c 0000fde9 00000001 00000002 e0f002 abcd"
                ),
                "20 c000020a 18 c63364",
            ),
            r#"{"type":"update","withdrawn":[],"attributes":{"origin":"igp","as-path":[{"sequence":[65001]}],"next-hop":"10.0.1.2","multi-exit-disc":100,"local-pref":200,"atomic-aggregate":true,"aggregator":{"address":"10.0.1.2","asn":70000},"communities":["65001:100","graceful-shutdown","no-export"],"originator-id":"10.0.1.3","cluster-list":["10.0.1.4"],"extended-communities":["0002fde900000064"],"large-communities":["65001:1:2"]},"unknown_attributes":[{"code":23,"name":"TUNNEL_ENCAPSULATION","flags":["optional","transitive"],"data":"0001ff"},{"code":240,"flags":["optional","transitive","partial"],"data":"abcd"}],"nlri":["192.0.2.10/32","198.51.100.0/24"]}"#,
        ),
        (
            &[],
            message(2, "0005 20 c000020a 0000"),
            r#"{"type":"update","withdrawn":["192.0.2.10/32"],"attributes":{},"nlri":[]}"#,
        ),
        (
            &[],
            update(
                "800e1a 0001 01 10 fd000000000000000000000000000002 00 20 c000020a 400101 02
                 40020a 0102 00000001 00000002",
                "",
            ),
            r#"{"type":"update","withdrawn":[],"attributes":{"mp-reach":{"family":"ipv4-unicast","next_hop":{"ipv6":{"global":"fd00::2","link_local":null}},"nlri":{"ipv4":["192.0.2.10/32"]}},"origin":"incomplete","as-path":[{"set":[1,2]}]},"nlri":[]}"#,
        ),
        (
            &[],
            update("800f08 0002 01 20 20010db8", ""),
            r#"{"type":"update","withdrawn":[],"attributes":{"mp-unreach":{"family":"ipv6-unicast","nlri":{"ipv6":["2001:db8::/32"]}}},"nlri":[]}"#,
        ),
        (
            &[],
            update("800f05 0019 46 abcd", ""),
            r#"{"type":"update","withdrawn":[],"attributes":{"mp-unreach":{"family":"l2vpn-evpn","nlri":{"opaque":"abcd"}}},"nlri":[]}"#,
        ),
        (
            &[],
            update("", ""),
            r#"{"type":"update","end_of_rib":"ipv4-unicast","withdrawn":[],"attributes":{},"nlri":[]}"#,
        ),
        (
            &[],
            message(3, "0602 05 68656c6c6f"),
            r#"{"type":"notification","code":6,"subcode":2,"name":"Cease / Administrative Shutdown","data":"0568656c6c6f","text":"hello"}"#,
        ),
        (
            &[],
            message(3, "0609 0602 03 627965"),
            r#"{"type":"notification","code":6,"subcode":9,"name":"Cease / Hard Reset","data":"060203627965","inside":{"code":6,"subcode":2,"name":"Cease / Administrative Shutdown","data":"03627965","text":"bye"}}"#,
        ),
        (
            &[],
            message(5, "0001 00 01 0140"),
            r#"{"type":"route-refresh","family":"ipv4-unicast","subtype":"normal","trailing":"0140"}"#,
        ),
        (
            &[],
            message(5, "0002 09 01"),
            r#"{"type":"route-refresh","family":"ipv6-unicast","subtype":{"other":9},"trailing":""}"#,
        ),
    ];
    for (options, line, expected) in table {
        assert_eq!(decode(options, line.as_bytes()), format!("{expected}\n"), "{line}");
    }
}

#[test]
fn options_settle_the_width_of_as_numbers_and_the_kind_of_peer() {
    let two_octets = update("400101 00 400204 0201 fde9 400304 0a000102 400504 00000064", "20 c000020a");
    let routes = r#""nlri":["192.0.2.10/32"]"#;
    let discarded = r#"{"attribute":"LOCAL_PREF","action":"attribute-discard","reason":"attribute LOCAL_PREF (5) is not expected from this peer"}"#;
    let attributes = r#"{"type":"update","withdrawn":[],"attributes":{"origin":"igp","#;
    let path = r#""as-path":[{"sequence":[65001]}],"#;
    let next_hop = r#""next-hop":"10.0.1.2""#;
    let table: [(&[&str], String); 4] = [
        (&["--as2", "--ibgp"], format!(r#"{attributes}{path}{next_hop},"local-pref":100}},{routes}}}"#)),
        (
            &["--as2"],
            format!(
                r#"{attributes}{path}{next_hop}}},{routes},"malformed":[{discarded}],"action":"attribute-discard"}}"#
            ),
        ),
        (
            &["--as4", "--ebgp"],
            format!(
                r#"{attributes}{next_hop}}},{routes},"malformed":[{{"attribute":"AS_PATH","action":"treat-as-withdraw","reason":"malformed AS_PATH"}},{discarded}],"action":"treat-as-withdraw"}}"#
            ),
        ),
        (
            &[],
            format!(
                r#"{attributes}{next_hop}}},{routes},"malformed":[{{"attribute":"AS_PATH","action":"treat-as-withdraw","reason":"malformed AS_PATH"}},{discarded}],"action":"treat-as-withdraw"}}"#
            ),
        ),
    ];
    for (options, expected) in table {
        assert_eq!(decode(options, two_octets.as_bytes()), expected + "\n", "{options:?}");
    }
    assert_eq!(lines::context(["--as3".to_owned()].into_iter()), None);
}

#[test]
fn errors_show_with_the_notification_that_answers_them() {
    let table = [
        (
            update("40 01 05 00", ""),
            r#"{"error":"malformed attribute list: an attribute is longer than all of them","notification":{"code":3,"subcode":1,"name":"UPDATE Message Error / Malformed Attribute List","data":""}}"#,
        ),
        (
            update("406302 abcd", ""),
            r#"{"error":"unrecognized well-known attribute 99: 406302abcd","notification":{"code":3,"subcode":2,"name":"UPDATE Message Error / Unrecognized Well-known Attribute","data":"406302abcd"}}"#,
        ),
        (
            message(1, "04 fde9 0001 0a000102 00"),
            r#"{"error":"a hold time of 1 s is neither 0 nor at least 3 s","notification":{"code":2,"subcode":6,"name":"OPEN Message Error / Unacceptable Hold Time","data":""}}"#,
        ),
        (
            message(1, "04 fde9 0009 0a000102 01 02"),
            r#"{"error":"malformed OPEN: an optional parameter is longer than the message","notification":{"code":2,"subcode":0,"name":"OPEN Message Error","data":""}}"#,
        ),
        (
            message(7, ""),
            r#"{"error":"message type 7 is unknown","notification":{"code":1,"subcode":3,"name":"Message Header Error / Bad Message Type","data":"07"}}"#,
        ),
        (
            "ff".repeat(18),
            r#"{"error":"a message of 18 octets is too short, too long or not of the length its type requires","notification":{"code":1,"subcode":2,"name":"Message Header Error / Bad Message Length","data":"0012"}}"#,
        ),
    ];
    for (line, expected) in table {
        assert_eq!(decode(&[], line.as_bytes()), format!("{expected}\n"), "{line}");
    }
}

#[test]
fn what_rfc_7606_contains_shows_with_its_action() {
    let line = update(&format!("{MANDATORY} 800403 000000 c00803 000000 800404 00000001"), "20 c000020a");
    let expected = r#"{"type":"update","withdrawn":[],"attributes":{"origin":"igp","as-path":[{"sequence":[65001]}],"next-hop":"10.0.1.2"},"nlri":["192.0.2.10/32"],"malformed":[{"attribute":"MULTI_EXIT_DISC","action":"treat-as-withdraw","reason":"wrong length of attribute MULTI_EXIT_DISC (4): 800403000000"},{"attribute":"COMMUNITIES","action":"treat-as-withdraw","reason":"wrong length of attribute COMMUNITIES (8): c00803000000"},{"attribute":"MULTI_EXIT_DISC","action":"attribute-discard","reason":"attribute MULTI_EXIT_DISC (4) appears more than once"}],"action":"treat-as-withdraw"}"#;
    assert_eq!(decode(&[], line.as_bytes()), format!("{expected}\n"));
}

#[test]
fn a_bad_line_is_told_by_its_number_and_the_next_one_is_read() {
    let keepalive = message(4, "");
    let long = "0".repeat(70_000);
    let spaced =
        "# a comment\n\n  \t\n".to_owned() + &keepalive.replace("0013", " 00 13 ") + " # KEEPALIVE\r\n";
    let input = [
        spaced.as_bytes(),
        b"zz\n",
        b"fff\n",
        b"ff:ff\n",
        b"\xff\xfe\n",
        "é\n".as_bytes(),
        long.as_bytes(),
        b"\n",
        // The last one has no line end.
        keepalive.to_uppercase().as_bytes(),
    ]
    .concat();
    let expected = r#"{"type":"keepalive"}
{"error":"not hexadecimal: 'z' at column 1","line":5}
{"error":"not hexadecimal: an odd number of digits, 3","line":6}
{"error":"not hexadecimal: ':' at column 3","line":7}
{"error":"not hexadecimal: the line is not UTF-8","line":8}
{"error":"not hexadecimal: 'é' at column 1","line":9}
{"error":"not hexadecimal: the line is longer than 65536 octets","line":10}
{"type":"keepalive"}
"#;
    assert_eq!(decode(&[], &input), expected);
    assert_eq!(decode(&[], b""), "");
}
