// The server's answers, and how they are asked for.
export const page = Math.random().toString(36).slice(2);
/** Where others can connect, the address holds a token; it is kept for this tab and taken out of sight. */
function secret() {
    const hash = new URLSearchParams(location.hash.slice(1));
    const token = hash.get("token");
    if (token) {
        sessionStorage.setItem("token", token);
        hash.delete("token");
        history.replaceState(null, "", "#" + hash.toString());
    }
    return sessionStorage.getItem("token");
}
const token = secret();
function headers() {
    const all = { "Content-Type": "application/json" };
    if (token)
        all["Authorization"] = "Bearer " + token;
    return all;
}
/** Fetches what is known. A busy server is asked again when it says so. */
export async function get(path) {
    for (;;) {
        const answer = await fetch(path, { headers: headers() });
        if (answer.status === 429) {
            await new Promise((wake) => setTimeout(wake, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
            continue;
        }
        const known = await answer.json();
        if (!answer.ok)
            throw new Error(known.message);
        return known;
    }
}
export async function model() {
    return await get("/v1/model");
}
/** Asks, and hands over line by line. Busy servers are asked again when they say so. */
export async function ask(path, what, signal, take) {
    for (;;) {
        const answer = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(what), signal });
        if (answer.status === 429) {
            const seconds = Number(answer.headers.get("Retry-After") ?? 1);
            await new Promise((wake) => setTimeout(wake, 1000 * seconds));
            if (signal.aborted)
                return;
            continue;
        }
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const { done, value } = await reader.read();
            if (done)
                return;
            const lines = (rest + value).split("\n");
            rest = lines.pop();
            for (const line of lines)
                take(JSON.parse(line));
        }
    }
}
