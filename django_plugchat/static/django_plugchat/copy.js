// The buttons that copy an id. Without this script they stay hidden, and the ids can be selected by hand.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const list = document.querySelector("[data-copied]");
    const status = document.querySelector(".plugchat-copied");
    for (const button of document.querySelectorAll(".plugchat-copy")) {
        button.hidden = false;
        button.addEventListener("click", async () => {
            const id = button.parentElement.querySelector("code");
            try {
                await navigator.clipboard.writeText(id.textContent);
                status.textContent = `${list.dataset.copied}: ${id.textContent}`;
            } catch {
                // Not over HTTPS, or not allowed: one key less to press.
                getSelection().selectAllChildren(id);
            }
        });
    }
});
