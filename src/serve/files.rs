//! The page: files that are part of the program.

/// A file's type and contents.
pub type File = (&'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page's own files, under their names.
macro_rules! files {
    ($($name:literal $kind:expr => $file:literal),* $(,)?) => {
        /// Their paths.
        pub const FILES: &[&str] = &[$($name),*];

        /// The file at a path. Nothing of the disk is read. The scripts are what `tsc` makes of
        /// the sources beside them (`scripts/page`).
        pub fn file(path: &str) -> Option<File> {
            match path {
                $($name => Some(($kind, include_str!(concat!("page/", $file)))),)*
                _ => None,
            }
        }
    };
}

files! {
    "/" "text/html; charset=utf-8" => "index.html",
    "/page.css" "text/css; charset=utf-8" => "page.css",
    "/prepared.json" "application/json" => "prepared.json",
    "/api.js" SCRIPT => "js/api.js",
    "/compare.js" SCRIPT => "js/compare.js",
    "/dom.js" SCRIPT => "js/dom.js",
    "/drag.js" SCRIPT => "js/drag.js",
    "/examples.js" SCRIPT => "js/examples.js",
    "/export.js" SCRIPT => "js/export.js",
    "/layers.js" SCRIPT => "js/layers.js",
    "/main.js" SCRIPT => "js/main.js",
    "/manipulations.js" SCRIPT => "js/manipulations.js",
    "/maps.js" SCRIPT => "js/maps.js",
    "/results.js" SCRIPT => "js/results.js",
    "/runs.js" SCRIPT => "js/runs.js",
    "/state.js" SCRIPT => "js/state.js",
    "/tokens.js" SCRIPT => "js/tokens.js",
    "/view.js" SCRIPT => "js/view.js",
}
