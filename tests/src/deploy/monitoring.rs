//! The rules for Prometheus and the dashboard for Grafana speak of metrics that there are, by labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{DEPLOY, text, yaml};

/// The labels that Prometheus adds, and those of every metric that is scraped.
const SCRAPED: [&str; 2] = ["instance", "job"];

/// Each series that the table in the documentation has, with its labels.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = text("docs/OPERATE.md");
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `mqtt_gate_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        // Words in brackets are values.
        let listed =
            cells[3].split('(').map(|part| part.rsplit_once(')').map_or(part, |(_, rest)| rest)).collect::<String>();
        let labels: BTreeSet<String> = listed.split('`').skip(1).step_by(2).chain(SCRAPED).map(str::to_owned).collect();
        if cells[2] == "histogram" {
            for end in ["_sum", "_count"] {
                series.insert(format!("{name}{end}"), labels.clone());
            }
            let labels = labels.iter().cloned().chain(["le".to_owned()]).collect();
            series.insert(format!("{name}_bucket"), labels);
        } else {
            series.insert(name.to_owned(), labels);
        }
    }
    assert!(series.len() > 15, "the table is found");
    series
}

/// The series that an expression names, with what stands in braces after each.
fn named(expression: &str) -> Vec<(String, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = expression.match_indices("mqtt_gate_").map(|(at, _)| &expression[at..]);
    let series = starts.map(|rest| {
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(within, _)| within);
        (name.to_owned(), braces.to_owned())
    });
    series.collect()
}

/// The labels that an expression groups by.
fn grouped(expression: &str) -> Vec<String> {
    let lists = expression.split("by (").skip(1).chain(expression.split("on (").skip(1));
    let lists = lists.filter_map(|rest| Some(rest.split_once(')')?.0));
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// The labels that a text shows: `{{ $labels.reason }}`, `{{reason}}`.
fn shown(text: &str) -> Vec<String> {
    let places = text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()));
    let labels = places.map(|place| place.strip_prefix("$labels.").unwrap_or(place));
    labels.filter(|label| !label.starts_with("$value")).map(str::to_owned).collect()
}

/// Checks an expression, and the texts that go with what it finds.
fn check(expression: &str, texts: &[&str], documented: &BTreeMap<String, BTreeSet<String>>) {
    let mut labels: BTreeSet<&str> = SCRAPED.into();
    for (name, braces) in named(expression) {
        let of = documented.get(&name).unwrap_or_else(|| panic!("no metric is called {name}: {expression}"));
        for matcher in braces.split(',').filter(|matcher| !matcher.is_empty()) {
            let label = matcher.split(['=', '!']).next().unwrap().trim();
            assert!(of.contains(label), "{name} has no label {label}: {expression}");
        }
        labels.extend(of.iter().map(String::as_str));
    }
    let texts = texts.iter().flat_map(|text| shown(text));
    for label in grouped(expression).into_iter().chain(texts) {
        assert!(labels.contains(label.as_str()), "nothing here has a label {label}: {expression}");
    }
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[test]
fn every_rule_asks_for_what_there_is_and_says_what_to_do() {
    let documented = documented();
    let rules = yaml("deploy/alerts.yaml").remove(0)["groups"][0]["rules"].clone();
    let mut names = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        let [summary, remedy] = ["summary", "remedy"].map(|name| words(&rule["annotations"][name]));
        check(words(&rule["expr"]), &[summary, remedy], &documented);
        assert!(["page", "ticket", "note"].contains(&words(&rule["labels"]["severity"])));
        assert!(names.insert(words(&rule["alert"])), "{} is there twice", rule["alert"]);
    }
}

#[test]
fn every_panel_shows_what_there_is() {
    let documented = documented();
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana.json")).unwrap();
    let mut used = BTreeSet::new();
    let (mut places, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(numbers.insert(panel["id"].as_u64()) && places.insert(panel["gridPos"].to_string()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = words(&target["expr"]);
            check(expression, &[words(&target["legendFormat"])], &documented);
            used.extend(named(expression).into_iter().map(|(name, _)| name));
            // No one's own data source.
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        check(words(&annotation["expr"]), &[words(&annotation["titleFormat"])], &documented);
    }
    let unused: Vec<_> = documented.keys().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, [""; 0], "the dashboard shows everything");
}

/// Prometheus' own tool, where it is installed: the rules are read, and speak when they should.
#[test]
fn the_rules_speak_when_they_should() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return;
    }
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(DEPLOY).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
