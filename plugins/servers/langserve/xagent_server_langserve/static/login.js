// Shows the token to the server once, for a cookie. A link may bring the token behind its #, which no server sees.

const form = document.getElementById("login");
const field = document.getElementById("token");
const status = document.getElementById("status");

async function logIn(token) {
  status.textContent = "";
  const answer = await fetch("/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  }).catch(() => ({ ok: false }));
  if (answer.ok) {
    location.replace("/");
    return;
  }
  status.dataset.state = "error";
  status.textContent = answer.status === 401 ? "That is not the token." : `The server ${answer.status ? `answered ${answer.status}` : "cannot be reached"}.`;
  field.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  logIn(field.value.trim());
});

function logInByLink() {
  const brought = new URLSearchParams(location.hash.slice(1)).get("token");
  if (brought) {
    history.replaceState(null, "", "/login");
    logIn(brought);
  }
}

addEventListener("hashchange", logInByLink);
logInByLink();
