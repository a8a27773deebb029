// Puts the views, the player and the acts together.
(V => {
const { el, get } = V;
V.live = false;
V.view = 'flow';
const lab = window.labView = { ready: false, account: () => V.model ? V.account(V.model) : [],
	seek: part => { V.player.to(Math.max(0, Math.min(1, part)) * V.player.total()); both(); },
	show: view => V.show(view === 'spacetime' ? 'space-time' : view) };
const views = { flow: V.flow, 'space-time': V.spacetime };
let size = '', detail = '', told = 0, pending = 0, words = '';

const now = index => V.model.live && index === V.model.events.length - 1 ? V.model.clock() : index < 0 ? 0 : V.model.events[index].at;
V.paint = (p, index, force) => {
	if (!V.model) return;
	const at = now(index), view = views[V.view];
	view.draw(index, p, at);
	view.frame(p);
	const key = index + ':' + (V.model.live ? Math.floor(at / 5e8) : '');
	if (key === detail && !force) return;
	detail = key;
	const table = V.table(V.model, index, at);
	V.details(V.model, index, at);
	words = V.summary(V.model, index, at, table);
	tell();
};
V.redetail = () => { detail = ''; if (V.model) V.details(V.model, V.player.index(), now(V.player.index())); };
// At most one update each two seconds, so that a screen reader can finish.
function tell() {
	const left = told + 2000 - performance.now();
	if (left > 0) { if (!pending) pending = setTimeout(() => { pending = 0; tell(); }, left); return; }
	const live = get('summary');
	if (live.textContent !== words) { live.textContent = words; told = performance.now(); }
}
function both() {
	const index = V.player.index(), at = now(index);
	for (const view of Object.values(views)) { view.draw(index, V.player.p, at); view.frame(V.player.p); }
}

// A record, whole (saved) or so far (live).
V.load = (replay, events, show, live) => {
	const had = V.model;
	V.model = V.build(replay, events, live);
	const came = performance.now(), end = V.model.end;
	V.model.clock = () => V.model.live ? end + (performance.now() - came) * 1e6 : end;
	V.player.load(show);
	heading(replay);
	layout();
	get('empty').hidden = V.model.order.length > 0 || live;
	V.legend(V.model, V.view);
	if (!had) V.player.play(V.live ? true : V.moves());
	if (!had && !V.live && !V.moves()) V.player.p = V.player.total();
	V.player.draw(true);
	lab.ready = true;
};
function heading(replay) {
	document.title = V.short(replay.title || replay.lab || 'Run', 120);
	get('title').textContent = V.clean(replay.title || replay.lab);
	const facts = [replay.lab, { pubsub: 'publish/subscribe', reqrep: 'request/reply', oneway: 'one way', pipeline: 'pipeline', queue: 'queue', durable: 'durable publish/subscribe' }[replay.pattern] || (replay.pattern === null ? 'exercise' : replay.pattern),
		replay.broker ? replay.broker : 'no broker', replay.guarantee].filter(Boolean);
	get('facts').replaceChildren(...facts.map(f => el('span', {}, V.clean(f))), replay.command ? el('code', {}, V.clean(replay.command)) : '');
	get('topic-field').hidden = !['pubsub', 'durable'].includes(replay.pattern);
}
function layout() {
	const stage = get('stage'), W = stage.clientWidth, H = stage.clientHeight;
	size = W + 'x' + H;
	V.family = getComputedStyle(document.body).fontFamily;
	const small = W < 640;
	V.flow.layout(V.model, V.player.show, W, small ? 400 : H - 2);
	V.spacetime.layout(V.model, V.player.show, W - (small ? 0 : 12));
}

V.show = view => {
	if (!views[view]) return;
	V.view = view;
	for (const id of Object.keys(views)) {
		const tab = get('tab-' + id), on = id === view;
		tab.setAttribute('aria-selected', on ? 'true' : 'false');
		tab.setAttribute('tabindex', on ? 0 : -1);
		get(id).hidden = !on;
	}
	if (!V.model) return;
	if (get('stage').clientWidth + 'x' + get('stage').clientHeight !== size) layout();
	V.spacetime.follow();
	V.legend(V.model, view);
	V.player.draw(true);
};

const KEYS = [['1, 2', 'Show the flow view, the space-time view'], ['Space', 'Play or pause'], ['← →', 'Step to the event before, to the next event'],
	['Arrow keys on a message', 'Go to the message before, to the next message'], ['?', 'Open this help']];
function help() {
	const rows = KEYS.map(([k, w]) => [k, w, true]);
	if (V.live) {
		for (const [name, a, why] of V.actKeys()) if (!get('act-' + name).hidden) rows.push([a.key, get('act-' + name).textContent, why]);
		rows.push(['k, r', 'On a role: kill, restart', true], ['p', 'On a role: pause or resume', true], ['l', 'On a role: slow down or quick', true]);
	}
	get('keys').replaceChildren(...rows.map(([k, w, why]) => el('tr', {}, el('th', { scope: 'row' }, el('kbd', {}, k)), el('td', {}, w, why === true ? null : el('span', { class: 'how' }, ' Not now: ' + V.clean(why))))));
	const reasons = V.live ? V.model.lanes.flatMap(l => V.roleActs(l.name).filter(a => a.why !== true).map(a => el('li', {}, `${a.label} ${V.short(l.name, 40)}: ${V.clean(a.why)}`))) : [];
	get('reasons').replaceChildren(...reasons);
	get('reasons-head').hidden = !reasons.length;
	get('help').showModal();
}
function keys(e) {
	if (e.ctrlKey || e.altKey || e.metaKey || e.defaultPrevented || get('help').open) return;
	const on = e.target, field = on.matches('input:not([type=range]), select, textarea');
	if (field) return;
	const presses = on.matches('button, summary, [role=button], [role=tab], a[href]');
	const role = on.closest && on.closest('[data-role]');
	const go = act => { e.preventDefault(); act(); };
	if (e.key === ' ' && !presses) return go(() => V.player.play(!V.player.playing));
	if ((e.key === 'Enter' || e.key === ' ') && on.matches('[data-message]')) return go(() => V.choose(on.getAttribute('data-message')));
	if (on.matches('input[type=range], [role=tab]') && e.key.startsWith('Arrow')) return;
	if (e.key === 'ArrowLeft') return go(() => V.player.step(-1));
	if (e.key === 'ArrowRight') return go(() => V.player.step(1));
	if (e.key === '1') return V.show('flow');
	if (e.key === '2') return V.show('space-time');
	if (e.key === '?') return go(help);
	if (!V.live) return;
	if (role && 'krpl'.includes(e.key) && e.key.length === 1) return V.roleAct(role.getAttribute('data-role'), e.key);
	const name = { s: 'send', e: 'auto', j: 'join', c: 'cut', b: 'broker' }[e.key];
	if (name) go(() => V.act(name));
}

V.flow.mount(get('flow'));
V.spacetime.mount(get('space-time'));
V.player.mount();
for (const id of Object.keys(views)) {
	V.pick(get(id));
	get('tab-' + id).addEventListener('click', () => V.show(id));
	get('tab-' + id).addEventListener('keydown', e => {
		if (!['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(e.key)) return;
		e.preventDefault();
		const other = V.view === 'flow' ? 'space-time' : 'flow';
		V.show(other);
		get('tab-' + other).focus();
	});
}
document.addEventListener('keydown', keys);
get('ask').addEventListener('click', help);
get('close').addEventListener('click', () => get('help').close());
let resized = 0;
new ResizeObserver(() => { cancelAnimationFrame(resized); resized = requestAnimationFrame(() => {
	const stage = get('stage');
	if (V.model && stage.clientWidth + 'x' + stage.clientHeight !== size) { layout(); V.player.draw(true); }
}); }).observe(get('stage'));

const saved = get('replay');
if (saved) {
	try {
		const given = JSON.parse(saved.textContent), parts = Array.isArray(given) ? given : [given];
		const open = part => V.load(part, part.events || [], V.schedule(part.events || []), false);
		// A run of several parts: one is shown, the others can be chosen.
		const choice = get('part');
		if (parts.length > 1) {
			choice.replaceChildren(...parts.map((part, i) => el('option', { value: i }, V.short(part.title, 100))));
			choice.addEventListener('change', () => {
				V.player.play(false);
				V.player.p = 0;
				open(parts[Number(choice.value)]);
				if (V.moves()) V.player.play(true); else V.player.to(V.player.total());
			});
			get('parts').hidden = false;
		}
		open(parts[0]);
	} catch (error) { V.say('The record in this file cannot be read: ' + V.short(error.message, 200)); }
} else if (location.hash.length > 1 && location.protocol.startsWith('http')) V.listen(location.hash.slice(1));
else V.say('There is no record in this file, and no lab to ask. Open the address that lab view printed.');
})(View);
