//! The Prometheus rules and the Grafana dashboard use existing metrics with existing labels.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{DEPLOY, text, yaml};

/// Labels that Prometheus adds to every series.
const SCRAPE_LABELS: [&str; 2] = ["instance", "job"];

/// The documented series with their labels, from the table in docs/OPERATE.md.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = text("docs/OPERATE.md");
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `mqtt_gate_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        // Words in parentheses are values.
        let listed =
            cells[3].split('(').map(|part| part.rsplit_once(')').map_or(part, |(_, rest)| rest)).collect::<String>();
        let labels: BTreeSet<String> =
            listed.split('`').skip(1).step_by(2).chain(SCRAPE_LABELS).map(str::to_owned).collect();
        if cells[2] == "histogram" {
            for suffix in ["_sum", "_count"] {
                series.insert(format!("{name}{suffix}"), labels.clone());
            }
            let labels = labels.iter().cloned().chain(["le".to_owned()]).collect();
            series.insert(format!("{name}_bucket"), labels);
        } else {
            series.insert(name.to_owned(), labels);
        }
    }
    assert!(series.len() > 15, "the table was not found");
    series
}

/// The series in an expression, each with the matchers in its braces.
fn series_in(expression: &str) -> Vec<(String, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = expression.match_indices("mqtt_gate_").map(|(at, _)| &expression[at..]);
    let series = starts.map(|rest| {
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(matchers, _)| matchers);
        (name.to_owned(), braces.to_owned())
    });
    series.collect()
}

/// The labels that an expression groups or joins by.
fn grouping_labels(expression: &str) -> Vec<String> {
    let lists = expression.split("by (").skip(1).chain(expression.split("on (").skip(1));
    let lists = lists.filter_map(|rest| Some(rest.split_once(')')?.0));
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// The labels in a template: `{{ $labels.reason }}`, `{{reason}}`.
fn template_labels(text: &str) -> Vec<String> {
    let places = text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()));
    let labels = places.map(|place| place.strip_prefix("$labels.").unwrap_or(place));
    labels.filter(|label| !label.starts_with("$value")).map(str::to_owned).collect()
}

/// Asserts that an expression, and the templates for its result, use documented series and labels.
fn assert_documented(expression: &str, texts: &[&str], documented: &BTreeMap<String, BTreeSet<String>>) {
    let mut labels: BTreeSet<&str> = SCRAPE_LABELS.into();
    for (name, braces) in series_in(expression) {
        let of = documented.get(&name).unwrap_or_else(|| panic!("{name} is not a metric: {expression}"));
        for matcher in braces.split(',').filter(|matcher| !matcher.is_empty()) {
            let label = matcher.split(['=', '!']).next().unwrap().trim();
            assert!(of.contains(label), "{name} has no label {label}: {expression}");
        }
        labels.extend(of.iter().map(String::as_str));
    }
    let texts = texts.iter().flat_map(|text| template_labels(text));
    for label in grouping_labels(expression).into_iter().chain(texts) {
        assert!(labels.contains(label.as_str()), "no series has the label {label}: {expression}");
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

#[test]
fn alerts_use_documented_metrics_and_have_a_hint() {
    let documented = documented();
    let rules = yaml("deploy/alerts.yaml").remove(0)["groups"][0]["rules"].clone();
    let mut names = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        let [summary, hint] = ["summary", "hint"].map(|name| text_of(&rule["annotations"][name]));
        assert_documented(text_of(&rule["expr"]), &[summary, hint], &documented);
        assert!(["page", "ticket", "note"].contains(&text_of(&rule["labels"]["severity"])));
        assert!(names.insert(text_of(&rule["alert"])), "{} is a duplicate", rule["alert"]);
    }
}

#[test]
fn panels_use_documented_metrics_and_show_all_of_them() {
    let documented = documented();
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana.json")).unwrap();
    let mut used = BTreeSet::new();
    let (mut positions, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64()) && positions.insert(panel["gridPos"].to_string()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = text_of(&target["expr"]);
            assert_documented(expression, &[text_of(&target["legendFormat"])], &documented);
            used.extend(series_in(expression).into_iter().map(|(name, _)| name));
            // The data source is chosen by the user.
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        assert_documented(text_of(&annotation["expr"]), &[text_of(&annotation["titleFormat"])], &documented);
    }
    let unused: Vec<_> = documented.keys().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, [""; 0], "metrics without a panel");
}

/// Runs `promtool` if it is installed.
#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return;
    }
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(DEPLOY).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
