//! The image: small, pinned, of nobody's, with what it is built from and without a key.

use super::{text, toml, yaml};

/// The instructions of the Dockerfile, each on one line.
fn instructions() -> Vec<(String, String)> {
    let text = text("deploy/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.to_owned())).unwrap()).collect()
}

/// Of the image that is kept.
fn last(name: &str) -> String {
    let all = instructions();
    let stage = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let mut found = all[stage..].iter().filter(|(found, _)| found == name);
    let (_, rest) = found.next_back().unwrap_or_else(|| panic!("no {name} in the last stage"));
    rest.clone()
}

#[test]
fn every_image_that_it_is_made_from_has_a_tag() {
    for (_, from) in instructions().into_iter().filter(|(name, _)| name == "FROM") {
        let image = from.split(' ').next().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        assert_ne!(tag, "latest");
    }
}

#[test]
fn the_compiler_of_the_image_is_the_one_that_the_project_asks_for() {
    let version = toml("Cargo.toml")["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned();
    assert!(instructions()[0].1.starts_with(&format!("rust:{version}-")));
}

#[test]
fn the_image_runs_the_gate_as_nobody_and_holds_no_key() {
    let user = last("USER");
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    assert_eq!(last("EXPOSE"), "8003");
    for (name, rest) in instructions() {
        assert!(!["ENV", "ARG", "ADD"].contains(&name.as_str()), "{name} {rest}");
    }
    // There is no shell in it.
    for name in ["ENTRYPOINT", "CMD"] {
        assert!(serde_json::from_str::<Vec<String>>(&last(name)).is_ok(), "{name}");
    }
    let entry: Vec<String> = serde_json::from_str(&last("ENTRYPOINT")).unwrap();
    assert!(last("HEALTHCHECK").contains(&format!("CMD [\"{}\", \"status\"]", entry[0])));
}

#[test]
fn all_that_the_build_needs_is_sent_and_nothing_that_lies_about() {
    let rules = text(".dockerignore");
    let rules: Vec<&str> = rules.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules[0], "*", "what is not named is not sent");
    let workspace = toml("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    for needed in members.chain(["wit", "Cargo.toml", "Cargo.lock", "Makefile"]) {
        let top = needed.split('/').next().unwrap();
        assert!(rules.contains(&format!("!{top}").as_str()), "{needed}");
    }
}

#[test]
fn the_composition_builds_this_image_and_asks_for_a_key() {
    let gate = yaml("deploy/compose.yaml")[0]["services"]["gate"].clone();
    assert_eq!((&gate["build"]["context"], &gate["build"]["dockerfile"]), (&"..".into(), &"deploy/Dockerfile".into()));
    assert!(gate["environment"]["MQTT_SIGNATURE_KEY"].as_str().unwrap().starts_with("${MQTT_SIGNATURE_KEY:?"));
    let check: Vec<&str> = gate["healthcheck"]["test"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
    assert!(last("HEALTHCHECK").ends_with(&format!("CMD {:?}", &check[1..])));
}
