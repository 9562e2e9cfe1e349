//! Go templates, as far as people use them in `--format`.
//!
//! Fields, pipes, variables, `if`, `range`, `with`, and Docker's functions. **Source:** Go, `text/template`; docker/cli,
//! `templates`.

mod evaluate;
mod parse;

use serde_json::Value;

/// A template that cannot be read or applied.
#[derive(Debug, thiserror::Error)]
#[error("template parsing error: template: :1: {0}")]
pub struct TemplateError(String);

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        // The shell leaves `\t` and `\n` as they are typed; Docker reads them.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        parse::nodes(&text).map(|nodes| Self { nodes }).map_err(TemplateError)
    }

    /// Applies it to a value.
    ///
    /// # Errors
    /// A field that is missing or a function that does not fit.
    pub fn apply(&self, value: &Value) -> Result<String, TemplateError> {
        evaluate::run(&self.nodes, value).map_err(TemplateError)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(template: &str, value: &Value) -> String {
        Template::parse(template).and_then(|template| template.apply(value)).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn templates_print_what_go_prints() {
        let value = json!({"Name": "/web", "State": {"Running": true, "Pid": 42, "Error": ""}, "Labels": {"b": "2", "a": "1"}, "Ports": [80, 443], "Empty": null});
        for (template, text) in [
            ("{{.Name}} {{.State.Pid}}", "/web 42"),
            ("{{json .Labels}}", r#"{"a":"1","b":"2"}"#),
            ("{{.State.Running}}{{println}}", "true\n"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{if eq .State.Pid 42}}yes{{end}}", "yes"),
            ("{{range .Ports}}[{{.}}]{{end}}", "[80][443]"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}", "a=1,b=2,"),
            ("{{index .Labels \"a\"}} {{index .Ports 1}}", "1 443"),
            ("{{.Name | printf \"%s!\" | upper}}", "/WEB!"),
            ("{{len .Ports}} {{join (split \"a,b\" \",\") \"-\"}}", "2 a-b"),
            ("{{with .State}}{{.Pid}}{{end}}", "42"),
            ("{{.Labels}} {{.Ports}}", "map[a:1 b:2] [80 443]"),
            ("{{.Empty}}", "<no value>"),
            ("{{- .Name -}}  x", "/webx"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{if and .State.Running (not .State.Error)}}fine{{end}}", "fine"),
            ("{{(index .Ports 0)}}", "80"),
        ] {
            assert_eq!(apply(template, &value), text, "{template}");
        }
    }

    #[test]
    fn faults_are_named() {
        let value = json!({});
        assert!(apply("{{.Name", &value).contains("unclosed action"));
        assert!(apply("{{nosuch .}}", &value).contains("function \"nosuch\" not defined"));
        assert!(apply("{{if .X}}", &value).contains("unexpected EOF"));
        assert!(apply("{{.A.B}}", &json!({"A": 1})).contains("can't evaluate field B"));
    }
}
