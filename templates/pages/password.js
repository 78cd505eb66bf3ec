// Shows a password to who wants to see it, and tells whether a new one is long enough.
// Without this the fields work as they are, and text browsers see no button.
document.querySelectorAll('span.show').forEach((mark) => {
  const b = document.createElement('button'), i = mark.previousElementSibling, s = mark.nextElementSibling, d = mark.dataset, c = i.form[i.name + '_confirm'];
  const show = (on) => {
    i.type = on ? 'text' : 'password';
    b.textContent = on ? d.hide : d.show;
  };
  b.type = 'button';
  b.className = 'show';
  b.id = i.id + '-show';
  b.setAttribute('aria-labelledby', `${b.id} ${i.id}-label`);
  mark.replaceWith(b);
  show();
  b.onclick = () => show(i.type === 'password');
  if (c) c.parentNode.hidden = true; // what can be seen need not be typed twice
  i.form.addEventListener('submit', () => {
    show(); // browsers keep what text fields had
    if (c) c.value = i.value;
  });
  if (s) i.oninput = () => {
    const v = i.value, n = [...v].length, t = !n ? '' : n < d.min ? d.short : d.digits && /^\d+$/.test(v) ? d.digits : n < 16 ? d.enough : d.long;
    if (s.textContent !== t) s.textContent = t; // each change is read out
  };
});
