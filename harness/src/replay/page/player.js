// The player: what part of the record is shown, and how fast.
(V => {
const el = V.get;
const player = V.player = { p: 0, speed: 1, playing: false, show: [], end: 0 };
const quiet = matchMedia('(prefers-reduced-motion: reduce)');
V.moves = () => !quiet.matches;
let last = 0, asked = false, told = '', drawnIndex = -2, soon = 0;

player.total = () => player.end + (player.show.length ? 700 : 0);
player.index = () => V.last(player.show, player.p);
player.load = show => {
	player.show = show;
	player.end = show.length ? show[show.length - 1] : 0;
	player.p = Math.min(player.p, player.total());
};
player.play = (on, again) => {
	player.again = again;
	if (on && !V.live && player.p >= player.total()) player.p = 0;
	player.playing = on;
	last = 0;
	if (on) V.spacetime.follow();
	const button = el('play');
	button.textContent = on ? 'Pause' : V.live ? 'Follow' : 'Play';
	wake();
};
// Move to a shown time, and stop there.
player.to = p => {
	player.play(false);
	player.p = Math.max(0, Math.min(player.total(), p));
	V.spacetime.follow();
	player.draw();
};
player.step = way => {
	const i = player.index();
	const next = way > 0 ? i + 1 : i - 1;
	if (next >= player.show.length) return player.to(player.total());
	player.to(next < 0 ? 0 : player.show[next] + .01);
};
player.draw = force => {
	V.paint(player.p, player.index(), force);
	const slider = el('scrub'), total = player.total();
	const shown = V.real(V.model.events, player.show, player.p);
	const words = `shown: ${(player.p / 1000).toFixed(player.p < 9950 ? 1 : 0)} s; it took ${V.time(shown)}`;
	if (words !== told) {
		el('clock').textContent = told = words;
		slider.setAttribute('aria-valuetext', `event ${player.index() + 1} of ${player.show.length}, after ${V.time(shown)}`);
	}
	slider.value = total ? Math.round(player.p / total * 1000) : 1000;
	if (drawnIndex !== player.index()) {
		drawnIndex = player.index();
		el('place').textContent = `event ${drawnIndex + 1} of ${player.show.length}`;
	}
};
const frame = now => {
	asked = false;
	const passed = last ? Math.min(100, now - last) : 16;
	last = now;
	if (player.playing) {
		const behind = player.end - player.p;
		let rate = player.speed;
		const late = V.live && behind > 3000 && !player.again;
		if (behind < 100) player.again = false;
		if (late) rate = Math.max(rate, behind / 600);
		if (late && behind > 20000) player.p = player.end - 6000;
		const limit = V.live ? player.end + 1200 : player.total();
		player.p = Math.min(limit, player.p + passed * rate);
		if (V.live && !V.moves()) player.p = limit;
		if (!V.live && player.p >= limit) player.play(false);
	}
	player.draw();
	// A run that goes on and has nothing to move is looked at twice a second.
	if (player.playing && (!V.live || player.p < player.end + 1200)) wake();
	else if (player.playing && !soon) soon = setTimeout(() => { soon = 0; last = 0; wake(); }, 500);
};
const wake = player.wake = () => { if (!asked) { asked = true; requestAnimationFrame(frame); } };

player.mount = () => {
	el('play').addEventListener('click', () => player.play(!player.playing));
	el('first').addEventListener('click', () => { player.p = 0; player.draw(true); player.play(V.moves(), true); });
	el('back').addEventListener('click', () => player.step(-1));
	el('next').addEventListener('click', () => player.step(1));
	el('scrub').addEventListener('input', e => player.to(e.target.value / 1000 * player.total()));
	el('speed').addEventListener('change', e => { player.speed = Number(e.target.value) || 1; });
	quiet.addEventListener('change', () => player.draw(true));
};
})(View);
