// "Take it" leads to the case's page, which takes it at once: a link alone changes nothing.
document.addEventListener("click", event => {
  const link = event.target.closest("[data-take]");
  if (link) sessionStorage.setItem("take", link.dataset.take);
});
