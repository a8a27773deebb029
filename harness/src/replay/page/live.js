// A run that goes on: its events, and the acts.
(V => {
const { el, get } = V;
let key = '', next = 0, events = [], show = [], roles = {}, can = {}, auto = false, over = false, wait = 1000;
V.actsKey = '';

const call = (path, options = {}) => fetch(path, Object.assign({ cache: 'no-store' }, options, { headers: Object.assign({ 'X-Lab-Token': key }, options.headers) }));
V.say = words => { get('status').textContent = words; };

V.listen = token => {
	key = token;
	V.live = true;
	V.roleActs = roleActs;
	get('acts').hidden = get('saves').hidden = false;
	mount();
	poll();
};

async function poll() {
	for (;;) {
		try {
			const stop = new AbortController(), timer = setTimeout(() => stop.abort(), 20000);
			const answer = await call('/events?since=' + next, { signal: stop.signal });
			if (!answer.ok) throw new Error(await answer.text() || 'status ' + answer.status);
			const news = await answer.json();
			clearTimeout(timer);
			take(news);
			if (wait > 1000) V.say('');
			wait = 1000;
			if (news.over) return;
		} catch (error) {
			V.say('The lab does not answer: ' + V.short(error.name === 'AbortError' ? 'timeout' : error.message, 200) + '. Trying again.');
			await new Promise(done => setTimeout(done, wait));
			wait = Math.min(10000, wait * 2);
		}
	}
}

function take(news) {
	if (news.first > next && next > 0) {
		show = show.filter((_, i) => events[i].message === undefined);
		events = events.filter(e => e.message === undefined);
	}
	const fresh = (news.events || []).slice(Math.max(0, next - news.first));
	next = news.next;
	events = events.concat(fresh);
	trim();
	over = !!news.over;
	roles = news.roles || {};
	can = news.acts || {};
	auto = !!news.auto;
	if (over) { can = {}; roles = {}; V.say('The run has ended.'); }
	const acts = JSON.stringify([roles, can, auto]);
	const changed = acts !== V.actsKey;
	if (changed) { V.actsKey = acts; toolbar(); }
	if (!fresh.length && !changed && !over && V.model) return;
	V.extend(show, events, V.player.p);
	V.load(news.replay, events, show, !over);
	if (V.player.playing) V.player.wake();
}
// The last 200 messages are kept, as the server does.
function trim() {
	const sent = events.filter(e => e.what === 'sent').map(e => String(e.message));
	if (sent.length <= 240) return;
	const old = new Set(sent.slice(0, sent.length - 200));
	const edge = events.findIndex(e => e.what === 'sent' && !old.has(String(e.message)));
	const stays = (e, i) => i >= show.length || (e.message !== undefined ? !old.has(String(e.message)) : i >= edge || !['depth', 'note'].includes(e.what));
	const times = show.filter((_, i) => stays(events[i], i));
	events = events.filter(stays);
	let less = 0;
	show = times.map((x, i) => {
		if (i) less += Math.max(0, x - times[i - 1] - 1200);
		return x - less;
	});
	V.player.p = Math.max(0, V.player.p - less);
}

async function ask(body, words) {
	try {
		const answer = await call('/act', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
		V.say(answer.ok ? words + ': asked.' : words + ': ' + (V.short(await answer.text(), 200) || 'status ' + answer.status));
	} catch (error) { V.say(words + ': the lab does not answer.'); }
}
const why = name => can[name] === true ? true : over ? 'The run has ended.' : can[name] || 'This run cannot do it.';

const down = () => can['restart-broker'] === true;

// The acts of the whole run, in order: id, words, key.
const ACTS = {
	send: { words: 'Send', key: 's', go: () => {
		const text = get('text').value, topic = get('topic').value.trim(), body = { act: 'send', text };
		if (topic && !get('topic-field').hidden) body.topic = topic;
		ask(body, 'Send');
	} },
	auto: { words: 'Send one each second', key: 'e', why: () => why('send'), go: () => ask({ act: 'auto', on: !auto }, auto ? 'Stop sending each second' : 'Send one each second') },
	join: { words: 'Join late', key: 'j', go: () => ask({ act: 'join' }, 'Join late') },
	cut: { words: 'Cut the link', key: 'c', go: () => ask({ act: 'cut' }, 'Cut the link') },
	broker: { words: 'Kill the broker', key: 'b', why: () => down() || why('kill-broker'),
		go: () => down() ? ask({ act: 'restart-broker' }, 'Restart the broker') : ask({ act: 'kill-broker' }, 'Kill the broker') },
};
V.act = name => {
	const one = ACTS[name], reason = one.why ? one.why() : why(name);
	if (!V.live || get('act-' + name).hidden) return;
	if (reason === true) one.go(); else V.say(one.words + ' is not possible: ' + V.short(reason, 200));
};
V.actKeys = () => Object.entries(ACTS).map(([name, a]) => [name, a, a.why ? a.why() : why(name)]);

const OF_ROLE = [['kill', 'Kill'], ['restart', 'Restart'], ['pause', 'Pause'], ['resume', 'Resume'], ['slow', 'Slow down', 'Slow'], ['quick', 'Quick']];
// Three acts of a role: of each pair the one that can be done now.
function roleActs(name) {
	const role = roles[name];
	if (!role) return [];
	const made = OF_ROLE.map(([act, label, brief]) => ({ act, label, brief: brief || label, why: (role.acts || {})[act] || `${label} is not possible here.` }));
	return [0, 2, 4].map(i => made[i].why !== true && made[i + 1].why === true ? made[i + 1] : made[i]);
}
V.roleAct = (name, which) => {
	const shown = roleActs(name);
	if (!shown.length) return;
	const act = { k: 'kill', r: 'restart', p: shown[1].act, l: shown[2].act }[which] || which, label = OF_ROLE.find(a => a[0] === act)[1];
	const why = (roles[name].acts || {})[act] || 'not in this run', words = `${label} ${V.short(name, 40)}`;
	if (why === true) ask({ act, role: name }, words); else V.say(`${words} is not possible: ${V.short(why, 200)}`);
};

function disable(button, reason, words) {
	button.textContent = words;
	button.title = reason === true ? '' : reason;
	if (reason === true) button.removeAttribute('aria-disabled'); else button.setAttribute('aria-disabled', 'true');
}
function toolbar() {
	for (const [name, a, reason] of V.actKeys()) {
		const button = get('act-' + name);
		disable(button, reason, name === 'broker' && down() ? 'Restart the broker' : a.words);
		if (name === 'auto') button.setAttribute('aria-pressed', auto ? 'true' : 'false');
		if (name === 'broker') button.hidden = !over && can['kill-broker'] === undefined && can['restart-broker'] === undefined;
	}
	const list = get('role-acts'), focus = document.activeElement && list.contains(document.activeElement) ? document.activeElement.getAttribute('data-of') + '/' + document.activeElement.getAttribute('data-slot') : '';
	list.replaceChildren(...Object.keys(roles).map(name => el('li', {}, el('span', { class: 'name' }, V.short(name, 40)), el('span', { class: 'how' }, V.short(roles[name].state || '', 40)),
		...roleActs(name).map((a, i) => el('button', { type: 'button', 'data-of': name, 'data-slot': i, 'data-act': a.act, 'aria-label': a.label + ' ' + V.short(name, 40),
			'aria-disabled': a.why === true ? null : 'true', title: a.why === true ? null : a.why }, a.brief)))));
	if (focus) for (const b of list.querySelectorAll('button')) if (b.getAttribute('data-of') + '/' + b.getAttribute('data-slot') === focus) b.focus();
}

function mount() {
	for (const name of Object.keys(ACTS)) get('act-' + name).addEventListener('click', e => { e.preventDefault(); V.act(name); });
	get('send').addEventListener('submit', e => { e.preventDefault(); V.act('send'); });
	for (const root of [get('flow'), get('role-acts')]) root.addEventListener('click', e => {
		const button = e.target.closest('[data-of]');
		if (button) V.roleAct(button.getAttribute('data-of'), button.getAttribute('data-act'));
	});
	for (const [id, path, name] of [['save-html', '/save.html', 'run.html'], ['save-log', '/save.log', 'run.log'], ['save-json', '/save.json', 'run.json']]) get(id).addEventListener('click', async () => {
		try {
			const answer = await call(path);
			if (!answer.ok) throw new Error(await answer.text() || 'status ' + answer.status);
			const url = URL.createObjectURL(await answer.blob());
			const lab = V.short(V.model && V.model.replay.lab || 'lab', 60).replace(/[^\w.-]+/g, '-');
			el('a', { href: url, download: lab + '-' + name }).click();
			setTimeout(() => URL.revokeObjectURL(url), 10000);
		} catch (error) { V.say('The download failed: ' + V.short(error.message, 200)); }
	});
}
})(View);
