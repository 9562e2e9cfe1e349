//! What Go prints and says, checked by hand against Docker's own program.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ordered::Ordered;

fn apply(template: &str, value: &serde_json::Value) -> String {
    Template::parse(template).and_then(|template| template.apply(value)).unwrap_or_else(|error| error.plain().to_owned())
}

fn typed(template: &str, text: &str) -> String {
    let value: Ordered = serde_json::from_str(text).unwrap();
    Template::parse(template)
        .and_then(|template| template.on(&Value::typed(&value), Mode::Lenient))
        .unwrap_or_else(|error| error.plain().to_owned())
}

#[test]
fn templates_print_what_go_prints() {
    let value = json!({"Name": "/web", "State": {"Running": true, "Pid": 42, "Error": ""}, "Labels": {"b": "2", "a": "1"}, "Ports": [80, 443], "Empty": null, "N": -3, "F": 1.5});
    for (template, text) in [
        ("{{.Name}} {{.State.Pid}}", "/web 42"),
        ("{{json .Labels}}", r#"{"a":"1","b":"2"}"#),
        ("{{json \"<a>\"}}", r#""<a>""#),
        ("{{.State.Running}}{{println}}", "true\n"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Error}}a{{else if eq .N -3}}b{{else}}c{{end}}", "b"),
        ("{{if eq .State.Pid 41 42}}yes{{end}}", "yes"),
        ("{{range .Ports}}[{{.}}]{{end}}", "[80][443]"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}", "a=1,b=2,"),
        ("{{range $i, $p := .Ports}}{{if $i}} {{end}}{{$p}}{{end}}", "80 443"),
        ("{{range .Ports}}{{if eq . 443}}{{break}}{{end}}{{.}}{{end}}", "80"),
        ("{{range .Ports}}{{if eq . 80}}{{continue}}{{end}}{{.}}{{end}}", "443"),
        ("{{$n := 0}}{{range .Ports}}{{$n = .}}{{end}}{{$n}}", "443"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{index .Labels \"a\"}} {{index .Ports 1}}", "1 443"),
        ("{{.Name | printf \"%s!\" | upper}}", "/WEB!"),
        ("{{len .Ports}} {{join (split \"a,b\" \",\") \"-\"}}", "2 a-b"),
        ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "42 /web"),
        ("{{with .Empty}}x{{else with .N}}{{.}}{{end}}", "-3"),
        ("{{.Labels}} {{.Ports}}", "map[a:1 b:2] [80 443]"),
        ("{{.Empty}} {{.Nope}}", "<no value> <no value>"),
        ("{{- .Name -}}  x", "/webx"),
        ("a  {{- /* nothing */ -}}  b", "ab"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if and .State.Running (not .State.Error)}}fine{{end}}", "fine"),
        ("{{or .State.Error \"no error\"}}", "no error"),
        ("{{(index .Ports 0)}}{{(.State).Pid}}", "8042"),
        ("{{slice .Name 1 3}} {{slice .Ports 1}}", "we [443]"),
        ("{{pad \"x\" 1 2}}|{{truncate \"abcdef\" 3}}|{{title \"ab cd\"}}|{{lower \"AB\"}}", " x  |abc|Ab Cd|ab"),
        ("{{printf \"%-5s|%5d|%05.1f|%q|%x|%v\" \"ab\" 42 .F \"c\" 255 .Ports}}", "ab   |   42|001.5|\"c\"|ff|[80 443]"),
        ("{{printf \"%d %s\" \"x\"}}", "%!d(string=x) %!s(MISSING)"),
        ("{{print 1 2 \"a\" \"b\" 3}} {{println 1 \"a\"}}", "1 2ab3 1 a\n"),
        ("{{html \"<a&b>\"}} {{urlquery \"a b/c\"}} {{'a'}} {{0x10}} {{1.5}}", "&lt;a&amp;b&gt; a+b%2Fc 97 16 1.5"),
        ("{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}} {{ne 1 2}}", "true true true false true"),
        ("{{`raw \\n`}} {{\"\\u00e9\\x41\"}}", "raw \\n éA"),
    ] {
        assert_eq!(apply(template, &value), text, "{template}");
    }
}

#[test]
fn faults_are_told_as_go_tells_them() {
    let value = json!({"A": 1, "M": {}, "L": [1]});
    for (template, text) in [
        ("{{", "template: :1: unclosed action"),
        ("{{.Name", "template: :1: unclosed action"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{foo}}", "template: :1: function \"foo\" not defined"),
        ("{{if .X}}", "template: :1: unexpected EOF"),
        ("{{if}}x{{end}}", "template: :1: missing value for if"),
        ("a\n{{end}}", "template: :2: unexpected {{end}}"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{\"abc}}", "template: :1: unterminated quoted string"),
        ("{{(.A}}", "template: :1: unclosed left paren"),
        ("{{.A)}}", "template: :1: unexpected right paren"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{.A.B}}", "template: :1:4: executing \"\" at <.A.B>: can't evaluate field B in type interface {}"),
        ("x\n {{.A.B}}", "template: :2:5: executing \"\" at <.A.B>: can't evaluate field B in type interface {}"),
        ("{{index .L 5}}", "template: :1:2: executing \"\" at <index .L 5>: error calling index: index out of range: 5"),
        ("{{eq .A \"x\"}}", "template: :1:2: executing \"\" at <eq .A \"x\">: error calling eq: incompatible types for comparison"),
        ("{{json}}", "template: :1:2: executing \"\" at <json>: wrong number of args for json: want 1 got 0"),
        ("{{.A 1}}", "template: :1:2: executing \"\" at <.A>: A has arguments but cannot be invoked as function"),
        ("{{1 2}}", "template: :1:2: executing \"\" at <1>: can't give argument to non-function 1"),
    ] {
        assert_eq!(apply(template, &value), text, "{template}");
    }
    let row = Value::row("*formatter.ContainerContext", &json!({"ID": "x", "Labels": "a=b,c=d"}));
    let on = |text: &str| Template::parse(text).unwrap().on(&row, Mode::Lenient);
    assert_eq!(
        on("{{.Foo}}").unwrap_err().plain(),
        "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext"
    );
    assert_eq!(on("{{.Label \"c\"}}{{.Label \"x\"}}").unwrap(), "d");
}

#[test]
fn structures_keep_their_order_and_maps_are_sorted() {
    let text = r#"{"Id":"x","Config":{"Hostname":"h","Labels":{"b":"2","a":"1"},"Cmd":null,"Volumes":null},"HostConfig":{"PidsLimit":null},"Size":1}"#;
    for (template, shown) in [
        (
            "{{json .}}",
            r#"{"Id":"x","Config":{"Hostname":"h","Labels":{"a":"1","b":"2"},"Cmd":null,"Volumes":null},"HostConfig":{"PidsLimit":null},"Size":1}"#,
        ),
        ("{{.ID}}", "x"),
        ("{{.Id}}", "template: :1:2: executing \"\" at <.Id>: map has no entry for key \"Id\""),
        ("{{.Config}}", "{h map[a:1 b:2] [] map[]}"),
        ("{{.Config.Cmd}} {{.Config.Volumes}} {{.HostConfig.PidsLimit}}", "[] map[] <nil>"),
        ("{{.Config.Healthcheck}}{{if .Config.Healthcheck}}x{{end}}", "<nil>"),
        ("{{.Nope}}", "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""),
        ("{{.Config.Labels.c}}", "<no value>"),
    ] {
        assert_eq!(typed(template, text), shown, "{template}");
    }
}

#[test]
fn a_heading_is_left_as_it_is() {
    let template = Template::of_list("{{upper .Names}}\\t{{pad .ID 1 1}}").unwrap();
    let heading = Value::from(&json!({"Names": "Names", "ID": "id"}));
    assert_eq!(template.on(&heading, Mode::Heading).unwrap(), "Names\t id ");
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_fall(text in ".{0,80}") {
        crate::fuzz::template(text.as_bytes());
    }

    #[test]
    fn any_words_are_read_without_a_fall(words in proptest::collection::vec(prop_oneof![
        Just("{{"), Just("}}"), Just("{{-"), Just("-}}"), Just(" "), Just("."), Just(".A"), Just(".A.B"), Just("$"), Just("$x"), Just(":="), Just("="),
        Just("if"), Just("else"), Just("end"), Just("{{end}}"), Just("range"), Just("with"), Just("|"), Just("("), Just(")"), Just("json"), Just("index"),
        Just("slice"), Just("printf"), Just("\"%5d\""), Just("0"), Just("-1"), Just("1.5"), Just("'a'"), Just("`r`"), Just("nil"), Just("true"), Just("é"),
        Just(","), Just("break"), Just("{{else}}"), Just("/*"), Just("*/"), Just("eq"), Just("pad"), Just("truncate"), Just("len"),
    ], 0..24)) {
        crate::fuzz::template(words.concat().as_bytes());
    }

    #[test]
    fn text_without_braces_is_kept(text in "[^{}]{0,60}") {
        prop_assert_eq!(apply(&text, &serde_json::Value::Null), text);
    }

    #[test]
    fn a_quoted_text_is_printed_as_it_is(text in "[a-z\"\\\\\n\té<>&]{0,30}") {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        prop_assert_eq!(apply(&format!("{{{{\"{quoted}\"}}}}"), &serde_json::Value::Null), text);
    }

    #[test]
    fn ranges_visit_every_item_in_order(items in proptest::collection::vec(any::<i32>(), 0..20)) {
        let shown = items.iter().map(|item| format!("{item};")).collect::<String>();
        prop_assert_eq!(apply("{{range .}}{{.}};{{end}}", &json!(items)), shown);
    }
}
