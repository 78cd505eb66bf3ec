// The one script of these pages: it asks the browser for passkeys. Without it they work by the password.
'use strict';
(() => {
  const api = window.PublicKeyCredential, store = navigator.credentials;
  if (!api || !store) return;

  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (b) => (b ? btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '') : undefined);
  const ids = (list) => (list || []).map((one) => Object.assign(one, { id: bytes(one.id) }));

  // What the server asks for.
  async function options(address, form, more) {
    const body = new URLSearchParams(new FormData(form));
    Object.keys(more).forEach((name) => body.set(name, more[name]));
    const res = await fetch(address, { method: 'POST', headers: { Accept: 'application/json' }, body });
    const json = await res.json(), o = json.publicKey;
    if (!res.ok) throw new Error([].concat(...Object.values(json)).join(' '));
    o.challenge = bytes(o.challenge);
    if (o.user) o.user.id = bytes(o.user.id);
    o.excludeCredentials = ids(o.excludeCredentials);
    o.allowCredentials = ids(o.allowCredentials);
    return { publicKey: o };
  }

  // The browser's answer, as the server takes it.
  function answer(made) {
    const r = made.response, response = { transports: r.getTransports ? r.getTransports() : undefined };
    ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle'].forEach((name) => { response[name] = text(r[name]); });
    return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {}, response });
  }

  async function get({ form, dataset: does }, more) {
    const o = await options(does.sudo || does.options, form, does.sudo ? { sudo: 'true' } : {});
    return answer(await store.get(Object.assign(o, more)));
  }

  let waiting; // the offer among what the browser fills in

  async function press(button) {
    const { form, dataset: does } = button, said = form.querySelector('[role=alert]');
    if (waiting) waiting.abort();
    button.disabled = said.hidden = true;
    form.passkey.value = '';
    try {
      if (does.passkey === 'get') {
        form.passkey.value = await get(button);
      } else {
        const o = await options(does.options, form, does.sudo ? { passkey: await get(button) } : {});
        form.passkey.value = answer(await store.create(o));
      }
      form.submit();
    } catch (e) {
      said.textContent = { NotAllowedError: does.cancelled, InvalidStateError: does.exists, Error: e.message }[e.name] || does.failed;
      said.hidden = false;
      offer(button);
    }
    button.disabled = false;
  }

  async function offer(button) {
    if (!('autofill' in button.dataset) || !api.isConditionalMediationAvailable || !await api.isConditionalMediationAvailable()) return;
    const mine = waiting = new AbortController();
    const again = setTimeout(() => { mine.abort(); offer(button); }, 240000); // before the challenge is over
    try {
      button.form.passkey.value = await get(button, { mediation: 'conditional', signal: mine.signal });
      button.form.submit();
    } catch (e) { // nobody has chosen one; the button says what is wrong
      clearTimeout(again);
    }
  }

  document.querySelectorAll('button[data-passkey]').forEach(async (button) => {
    const { form, dataset: does } = button, needed = form.querySelector('.needed');
    if (needed) needed.remove();
    button.hidden = false;
    if ('alone' in does) form.onsubmit = () => { press(button); return false; };
    else button.onclick = () => press(button);
    // Its keeper hides one that no account has any more, so that it is not offered again.
    if (does.unknown && api.signalUnknownCredential) await api.signalUnknownCredential({ rpId: does.domain, credentialId: does.unknown }).catch(() => {});
    offer(button);
  });
})();
