//! The admin listener evicts the oldest idle connection when its limit is reached.

use crate::support::child::GateProcess;
use crate::support::http::{Connection, get};

#[tokio::test(flavor = "multi_thread")]
async fn idle_admin_connections_do_not_block_probes() {
    const MAX_CONNECTIONS: usize = 256;
    let gate = GateProcess::start_default().await;
    let mut connections = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 10 {
        let mut connection = Connection::open(gate.admin).await;
        assert_eq!(connection.request(&get("/livez")).await.status, 200);
        connections.push(connection);
    }
    let mut newest = connections.split_off(connections.len() - MAX_CONNECTIONS / 2);
    for connection in &mut connections[..10] {
        connection.wait_closed().await;
    }
    for connection in &mut newest {
        assert_eq!(connection.request(&get("/livez")).await.status, 200);
    }
    let log = gate.stop().await;
    assert!(!log.contains("ERROR"), "{log}");
}
