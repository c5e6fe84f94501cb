// Light, dark, or as the system has it. A plain script, so that the page never shows the wrong one first.

(() => {
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const saved = () => localStorage.getItem("xagent-theme") ?? "system";
  const apply = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
  };
  apply(saved());
  document.addEventListener("DOMContentLoaded", () => {
    apply(saved());
    document.getElementById("theme")?.addEventListener("click", () => {
      localStorage.setItem("xagent-theme", NEXT[saved()] ?? "system");
      apply(saved());
    });
  });
})();
