//! Layers on other machines: llama.cpp's RPC backend, in builds with the feature `rpc`.

/// What is wrong with a server.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The program was built without it.
    #[error("this build computes on this machine alone; build it with the feature rpc (`rpc`)")]
    NotBuilt,
    /// An address that is none, or where nobody answers.
    #[error("{address}: {reason} (`rpc`)")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
}

/// Adds the devices of servers to those of this process, each server once. llama.cpp ends the
/// process when a server goes away.
///
/// # Errors
/// [`RpcError`].
pub(super) fn add_servers(addresses: &[String]) -> Result<(), RpcError> {
    match addresses.is_empty() {
        true => Ok(()),
        false => imp::add_servers(addresses),
    }
}

/// Computes for other machines on this one's devices, until the process ends: GPUs where there are
/// some, else the processor with `threads` threads. Whoever reaches the address may use it, and
/// may do harm: there is no authentication.
///
/// # Errors
/// [`RpcError`]; an address that cannot be listened on.
pub fn serve(address: &str, threads: u32) -> Result<(), RpcError> {
    imp::serve(address, threads)
}

#[cfg(not(feature = "rpc"))]
mod imp {
    use super::RpcError;

    pub(super) fn add_servers(_: &[String]) -> Result<(), RpcError> {
        Err(RpcError::NotBuilt)
    }

    pub(super) fn serve(_: &str, _: u32) -> Result<(), RpcError> {
        Err(RpcError::NotBuilt)
    }
}

#[cfg(feature = "rpc")]
mod imp {
    use std::ffi::{CString, c_char};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs};
    use std::sync::Mutex;
    use std::time::Duration;

    use llama_cpp_sys_2 as sys;

    use super::RpcError;
    use crate::runtime::{chosen, devices};

    unsafe extern "C" {
        fn ggml_backend_rpc_add_server(endpoint: *const c_char) -> sys::ggml_backend_reg_t;
        fn ggml_backend_rpc_start_server(
            endpoint: *const c_char,
            cache_dir: *const c_char,
            n_threads: usize,
            n_devices: usize,
            devices: *mut sys::ggml_backend_dev_t,
        );
    }

    /// How long a server may take to answer.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Those that were added to this process.
    static ADDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn unreachable(address: &str, reason: impl ToString) -> RpcError {
        RpcError::Unreachable {
            address: address.into(),
            reason: reason.to_string(),
        }
    }

    fn c_string(address: &str) -> Result<CString, RpcError> {
        CString::new(address).map_err(|error| unreachable(address, error))
    }

    /// llama.cpp ends the process where nobody listens, so that is seen first.
    fn answers(address: &str) -> Result<(), RpcError> {
        let resolved = address
            .to_socket_addrs()
            .map_err(|error| unreachable(address, error))?;
        let mut last = None;
        for at in resolved {
            match TcpStream::connect_timeout(&at, PATIENCE) {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        let reason = last.map_or("no such host".into(), |error| error.to_string());
        Err(unreachable(address, reason))
    }

    pub(super) fn add_servers(addresses: &[String]) -> Result<(), RpcError> {
        let mut added = ADDED.lock().unwrap_or_else(|broken| broken.into_inner());
        for address in addresses {
            if added.contains(address) {
                continue;
            }
            answers(address)?;
            let endpoint = c_string(address)?;
            // SAFETY: a NUL-terminated string, which is copied.
            let server = unsafe { ggml_backend_rpc_add_server(endpoint.as_ptr()) };
            if server.is_null() {
                return Err(unreachable(address, "it has no devices"));
            }
            // SAFETY: a registry that lives as long as the process.
            unsafe { sys::ggml_backend_register(server) };
            added.push(address.clone());
        }
        Ok(())
    }

    pub(super) fn serve(address: &str, threads: u32) -> Result<(), RpcError> {
        // ggml only prints what is wrong with an address.
        drop(TcpListener::bind(address).map_err(|error| unreachable(address, error))?);
        let all = devices().map_err(|error| unreachable(address, error))?;
        let apart = chosen(None).map_err(|error| unreachable(address, error))?;
        let processor = (0..all.len()).filter(|n| all[*n].backend == "CPU");
        let numbers: Vec<usize> = match apart.is_empty() {
            true => processor.collect(),
            false => apart,
        };
        let mut handles: Vec<sys::ggml_backend_dev_t> = numbers
            .iter()
            // SAFETY: a number of a device that there is.
            .map(|n| unsafe { sys::ggml_backend_dev_get(*n) })
            .collect();
        let endpoint = c_string(address)?;
        // SAFETY: a NUL-terminated string, no folder, and as many devices as it is told.
        unsafe {
            ggml_backend_rpc_start_server(
                endpoint.as_ptr(),
                std::ptr::null(),
                threads as usize,
                handles.len(),
                handles.as_mut_ptr(),
            );
        }
        // It returns only where it could not go on, and has said why.
        Err(unreachable(address, "the server ended"))
    }
}
