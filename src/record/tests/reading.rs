//! Reading while the log grows, and from a web server, which has no private key and no lists of files.

use std::path::PathBuf;

use futures::TryStreamExt;
use record::{
    Error,
    key::Signers,
    reader::{Entry, Reader},
    store,
    verify::{Known, verify},
    writer::Writer,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::fixture::{Log, at, leaf};

#[tokio::test]
async fn a_reader_of_an_earlier_checkpoint_is_served_after_its_partial_tiles_were_removed() {
    let log = Log::with(700).await;
    let reader = log.reader().await.unwrap();
    assert_eq!(reader.checkpoint().time(), Some(at(1001)), "one second after the checkpoint of the writer's start");
    log.append(700..1030).await;
    assert!(!log.path("tile/entries/002.p").exists() && !log.path("tile/0/002.p").exists());
    let entries: Vec<Entry> = reader.entries(650..u64::MAX).try_collect().await.unwrap();
    assert_eq!(entries, (650..700).map(|index| Entry { index, leaf: leaf(index) }).collect::<Vec<_>>());
    assert!(matches!(reader.entry(700).await, Err(Error::OutOfRange { index: 700, size: 700 })));
    let entries: Vec<Entry> = reader.entries(690..695).try_collect().await.unwrap();
    assert_eq!(entries.len(), 5);
    let error = futures::future::join(reader.proof(700), reader.root_at(701)).await;
    assert!(matches!(error, (Err(Error::OutOfRange { .. }), Err(Error::OutOfRange { .. }))));
}

/// Serves the files of a folder, and answers 503 first.
async fn serve(listener: TcpListener, folder: PathBuf) {
    let mut refuse = true;
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = BufReader::new(stream);
        let (mut request, mut line) = (String::new(), String::new());
        stream.read_line(&mut request).await.unwrap();
        while stream.read_line(&mut line).await.unwrap() > 2 {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap().trim_start_matches("/log/").to_owned();
        let (status, body) = match std::fs::read(folder.join(path)) {
            _ if std::mem::take(&mut refuse) => ("503 Service Unavailable", Vec::new()),
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_log_on_a_web_server_is_read_and_verified_but_not_written() {
    let log = Log::with(700).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/log/", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, log.folder().to_owned()));
    let store = || store::open(&url, []).unwrap();
    assert!(Reader::open(store(), log.trusted()).await.unwrap_err().is_retry(), "503");
    let reader = Reader::open(store(), log.trusted()).await.unwrap();
    assert_eq!(reader.entry(699).await.unwrap(), leaf(699));
    assert!(verify(store(), log.trusted(), &Known::default(), |_| {}).await.unwrap().is_valid());
    let missing = store::open(&format!("{url}other"), []).unwrap();
    assert!(matches!(Reader::open(missing, log.trusted()).await, Err(Error::NoLog(_))));
    let error = Writer::open(store(), Signers::from_texts([&log.keys.signer]).unwrap(), None).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    server.abort();
}
