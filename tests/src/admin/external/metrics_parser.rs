//! The metrics as the parser of another project reads them.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::admin::metrics::metrics;
use crate::support::device::Device;
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::{target_dir, within_timeout};

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_client_parses_every_sample() {
    let gate = Gate::start(AUTH_CORE).await;
    gate.authenticate(&Device::valid()).await;
    let text = metrics(&gate).await;
    let script = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse; \
                  print(len([sample for family in parse(sys.stdin.read()) for sample in family.samples]))";
    let mut parser = Command::new(target_dir().join("amqtt/bin/python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the parser is installed (`make test` installs it into the target directory)");
    parser.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = within_timeout("the parser to end", parser.wait_with_output()).await.unwrap();
    let samples: usize = String::from_utf8(output.stdout).unwrap().trim().parse().expect("the parser accepts the text");
    assert_eq!(samples, text.lines().filter(|line| !line.starts_with('#')).count());
    gate.stop().await;
}
