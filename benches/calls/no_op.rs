//! A web server on the gateway's own framework: parses the body of a reserve and answers a constant one.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use actix_web::{App, HttpResponse, HttpServer, web};
use quotagate::infra::threads::never_interrupt;

const ASKED: &str = "no-op";

/// The answer, if this process is to be the server.
pub fn asked() -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != ASKED).skip(1);
    arguments.next()
}

pub fn serve(answer: String) {
    actix_web::rt::System::new().block_on(async {
        let answer = web::Data::new(answer);
        let server = HttpServer::new(move || {
            // As the gateway's workers; it is better for the no-op too.
            never_interrupt();
            let post = web::post().to(async |body: web::Bytes, answer: web::Data<String>| {
                let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&body);
                assert!(parsed.is_ok());
                HttpResponse::Ok().content_type("application/json").body(answer.as_str().to_owned())
            });
            App::new().app_data(answer.clone()).route("/{path:.*}", post)
        });
        // One per core is best for it, since it never waits.
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let server = server.workers(cores).bind("127.0.0.1:0").unwrap();
        println!("{}", server.addrs()[0]);
        std::io::stdout().flush().unwrap();
        server.run().await.unwrap();
    });
}

/// The server as a process of its own.
pub struct NoOp {
    child: Child,
    pub address: String,
}

impl NoOp {
    pub fn start(answer: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.args([ASKED, answer]).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for NoOp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
