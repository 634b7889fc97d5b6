//! The container image: pinned base images, an unprivileged user, and no key.

use super::{text, toml, yaml};

/// The instructions of the Dockerfile, with continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = text("deploy/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.to_owned())).unwrap()).collect()
}

/// The last instruction of this name in the final stage.
fn in_final_stage(name: &str) -> String {
    let all = instructions();
    let stage = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let mut found = all[stage..].iter().filter(|(found, _)| found == name);
    let (_, rest) = found.next_back().unwrap_or_else(|| panic!("no {name} in the last stage"));
    rest.clone()
}

#[test]
fn base_images_have_a_tag() {
    for (_, from) in instructions().into_iter().filter(|(name, _)| name == "FROM") {
        let image = from.split(' ').next().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        assert_ne!(tag, "latest");
    }
}

#[test]
fn compiler_of_the_image_is_the_rust_version_of_the_workspace() {
    let version = toml("Cargo.toml")["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned();
    assert!(instructions()[0].1.starts_with(&format!("rust:{version}-")));
}

#[test]
fn image_runs_as_an_unprivileged_user_and_contains_no_key() {
    let user = in_final_stage("USER");
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    assert_eq!(in_final_stage("EXPOSE"), "8003");
    for (name, rest) in instructions() {
        assert!(!["ENV", "ARG", "ADD"].contains(&name.as_str()), "{name} {rest}");
    }
    // The image has no shell.
    for name in ["ENTRYPOINT", "CMD"] {
        assert!(serde_json::from_str::<Vec<String>>(&in_final_stage(name)).is_ok(), "{name}");
    }
    let entry: Vec<String> = serde_json::from_str(&in_final_stage("ENTRYPOINT")).unwrap();
    assert!(in_final_stage("HEALTHCHECK").contains(&format!("CMD [\"{}\", \"status\"]", entry[0])));
}

#[test]
fn build_context_contains_the_workspace_and_nothing_else() {
    let rules = text(".dockerignore");
    let rules: Vec<&str> = rules.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules[0], "*", "everything else is ignored");
    let workspace = toml("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    for needed in members.chain(["wit", "Cargo.toml", "Cargo.lock", "Makefile"]) {
        let top = needed.split('/').next().unwrap();
        assert!(rules.contains(&format!("!{top}").as_str()), "{needed}");
    }
}

#[test]
fn compose_file_builds_this_image_and_requires_a_key() {
    let gate = yaml("deploy/compose.yaml")[0]["services"]["gate"].clone();
    assert_eq!((&gate["build"]["context"], &gate["build"]["dockerfile"]), (&"..".into(), &"deploy/Dockerfile".into()));
    assert!(gate["environment"]["MQTT_SIGNATURE_KEY"].as_str().unwrap().starts_with("${MQTT_SIGNATURE_KEY:?"));
    let check: Vec<&str> = gate["healthcheck"]["test"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
    assert!(in_final_stage("HEALTHCHECK").ends_with(&format!("CMD {:?}", &check[1..])));
}
