"""The story that the demo tells, act by act, through the same doors that an organisation's own systems use.

Every act speaks HTTP to an information system of one of the organisations, which speaks to its own node. What should
have come of an act is checked there and then: `Story.checks` says of each promise whether it held. The proofs at the
end are made from the nodes' databases and verified the way anyone would verify them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import ClientSession, ClientTimeout
from sqlalchemy import select

from audit.log.entries import EntryType
from audit.log.tables import entries
from audit.questions.check import Report
from audit.questions.check import check as check_log
from audit.tree import proofs
from audit.tree.checkpoint import VerifierKey
from audit.tree.verify import verify_export
from gateway.demo.network import Network
from gateway.demo.outcome import Asked, Check, Proven, Share, Wishes
from gateway.demo.patience import Patience
from gateway.demo.ports import LOOPBACK
from gateway.demo.truth import accepted, denials, entries_of, evidence_of
from gateway.handover.states import SETTLED, ArrivalKind, DeliveryKind, DeliveryState
from gateway.settings import load
from gateway.storage import engine as storage
from schemas.identifiers import MIGRI_CUSTOMER

#: Row of the first person in the export: the header is row 1, as in a spreadsheet.
FIRST_ROW = 2
PERSONS = 20
#: Rows of the export in which the generator planted faults, and as many good ones around them.
DIRTY_ROWS = range(26, 46)
#: How long the delivery that is overtaken by a withdrawal is held back.
HELD_BACK = timedelta(seconds=6)


class StoryError(Exception):
    """The demo cannot go on: which step, and what was answered."""


@dataclass(slots=True)
class Story:
    """The acts of the demo over a running network."""

    network: Network
    cases: Mapping[str, Mapping[str, str]]
    session: ClientSession
    checks: list[Check] = field(default_factory=list)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)  # person's customer number -> the planned handover

    async def wishes(self) -> Wishes:
        """Three persons say what they want before anything moves, one of them to each recipient another thing."""
        refusal = await self._say("p06-torture-survivor", "prohibition", ["health-needs"])
        permission = await self._say("p06-torture-survivor", "permission", ["health-needs"], to="county")
        kept = await self._say("p01-asylum-adult", "consent", ["health-needs"])
        overtaken = await self._say("p09-withdrawn-consent", "consent", ["health-needs", "social-needs"])
        return Wishes(refusal, permission, kept, overtaken)

    async def hand_over(self, step: Callable[[int, int], None]) -> None:
        """Hand twenty persons over, each in the flow that fits; one of them not at once."""
        flows: dict[str, list[int]] = {}
        late = self._row("p09-withdrawn-consent")
        by_row = {self._row(name): case["flow"] for name, case in self.cases.items()}
        for row in range(FIRST_ROW, FIRST_ROW + PERSONS):
            if row != late:
                flows.setdefault(by_row.get(row, "F1"), []).append(row)
        done = 0
        for flow, rows in sorted(flows.items()):
            await self._order(rows, flow, {})
            done += len(rows)
            step(done, PERSONS)
        await self._order([late], "F1", {"not_before": (datetime.now(UTC) + HELD_BACK).isoformat()})
        step(PERSONS, PERSONS)

    async def withdraw(self, wishes: Wishes) -> dict[str, Any]:
        """One person withdraws a consent before the delivery that it was to carry, another after."""
        late = self.plans[self._key("p09-withdrawn-consent")]
        planned = _permitted(late, "municipality")
        self._check("a consent lets health needs be planned for the municipality", "health-needs" in planned)
        withdrawn = await self._call("centre", "POST", f"/v1/consents/{wishes.overtaken}/withdrawal", expect=201)
        self._check("nothing had been sent under the consent that was withdrawn first", withdrawn["notices"] == 0)
        return withdrawn

    async def withdraw_after(self, wishes: Wishes) -> dict[str, Any]:
        """A person withdraws a consent under which a municipality has received data: it is told so, signed."""
        withdrawn = await self._call("centre", "POST", f"/v1/consents/{wishes.kept}/withdrawal", expect=201)
        notices = await self._until(
            lambda: self._held("kotka"), lambda held: [item for item in held if item["kind"] == ArrivalKind.NOTICE]
        )
        self._check(
            "who had received data under a withdrawn consent has a signed notice of it",
            withdrawn["notices"] == 1 and any(notice["handover"] == wishes.kept for notice in notices),
        )
        return withdrawn

    async def arrivals(self, step: Callable[[int, int], None]) -> list[Share]:
        """Wait until all that can arrive has arrived and was accepted; say who got what."""
        handovers: list[dict[str, Any]] = []
        patience = Patience()
        while True:
            handovers = (await self._call("centre", "GET", "/v1/handovers?limit=1000"))["handovers"]
            parts = [part for handover in handovers for part in handover["deliveries"] if _can_arrive(part)]
            settled = sum(part["state"] in SETTLED for part in parts)
            step(settled, len(parts))
            if settled == len(parts):
                break
            if patience.is_over(settled):
                raise StoryError(f"{len(parts) - settled} of {len(parts)} deliveries do not arrive")
            await asyncio.sleep(0.1)
        held = {
            name: {item["handover"]: item for item in await self._held(name) if item["kind"] == ArrivalKind.HANDOVER}
            for name in ("kotka", "kymenlaakso")
        }
        found = []
        states = {handover["id"]: handover for handover in handovers}
        for person, plan in self.plans.items():
            for part in plan["deliveries"]:
                now = next(state for state in states[plan["id"]]["deliveries"] if state["id"] == part["id"])
                found.append(self._share(person, plan, part, now, held))
        self._check_arrivals(found, held)
        return found

    async def queries(self) -> list[Asked]:
        """Questions that are answered in full, in part, and not at all."""
        asked = [
            await self._ask("kotka", "p01-asylum-adult", "service-need-lookup", ("identity", "language", "housing")),
            await self._ask("kotka", "p06-torture-survivor", "service-need-lookup", ("identity", "health-needs")),
            await self._ask("kymenlaakso", "p06-torture-survivor", "service-need-lookup", ("identity", "health-needs")),
            await self._ask("kymenlaakso", "p10-moves-on", "service-need-lookup", ("identity", "health-needs")),
            await self._ask("placement", "p01-asylum-adult", "service-need-lookup", ("identity",)),
            await self._ask("kotka", "p03-ukrainian-mother", "service-need-lookup", ("identity", "language")),
        ]
        whole, minimised, permitted, not_permitted, without_basis, elsewhere = asked
        self._check("the municipality of residence gets what it may know", whole.status == 200 and not whole.withheld)
        self._check(
            "what the person refused is left out, the rest is given",
            minimised.status == 200 and minimised.got == ("identity",),
        )
        self._check("the county gets health needs with the person's permission", "health-needs" in permitted.got)
        # Nor may it ask who the person is, unless it has asked once for all, or the person is its client already.
        self._check("without it the county's question brings nothing", not_permitted.status == 404)
        self._check("who has no legal basis gets nothing", without_basis.status == 403)
        # Not a refusal: that would tell that the person is known there.
        self._check("another municipality's resident is nobody's business", elsewhere.status == 404)
        return asked

    async def dirty(self) -> dict[str, Any]:
        """Hand over rows of the export among which some are wrong: the good go, the bad are named."""
        answer = await self._system(
            "centre", "/hand-over", {"rows": list(DIRTY_ROWS), "flow": "F1", "key": "dirty-rows"}, expect=(201,)
        )
        for finding in answer["findings"]:
            # The system posted these rows as a file of their own; told is where they stand in the export.
            finding["export_row"] = DIRTY_ROWS[finding["row"] - FIRST_ROW]
        self._check(
            "of the rows read, each was handed over or rejected with a finding",
            answer["read"] == answer["handed_over"] + answer["rejected"] == len(DIRTY_ROWS) and answer["rejected"] > 0,
            f"{answer['read']} read, {answer['handed_over']} handed over, {answer['rejected']} rejected",
        )
        return answer

    def logs(self) -> dict[str, Report]:
        """Check every node's log from the first entry to the last."""
        reports = {}
        untrue, delivered = 0, self._accepted()
        for name in self.network.parties:
            engine = storage.create(self.network.state()["parties"][name]["database"])
            try:
                reports[name] = check_log(engine, log_key=VerifierKey.parse(self.network.logs[name]["key"]))
                untrue += len(denials(entries_of(engine), delivered))
            finally:
                engine.dispose()
            self._check(f"the log of {name} is whole", reports[name].sound, f"{reports[name].size} entries")
        self._check(
            "no log says stopped, failed or refused of a delivery that was accepted",
            untrue == 0 and bool(delivered),
            f"{len(delivered)} deliveries, {untrue} entries",
        )
        return reports

    def evidence(self) -> None:
        """Make evidence of one exchange of each kind, at each of its sides, and verify it as anyone would."""
        sound, total = 0, 0
        for party in self.network.parties.values():
            settings = load(party.config, {})
            engine = storage.create(settings.database.url)
            try:
                reports = evidence_of(settings, engine)
            finally:
                engine.dispose()
            sound += sum(report.sound for report in reports)
            total += len(reports)
        self._check("the evidence of each kind of exchange holds", 0 < sound == total, f"{total} packages")

    def _accepted(self) -> set[str]:
        """The deliveries of all nodes that were accepted."""
        found: set[str] = set()
        for party in self.network.state()["parties"].values():
            engine = storage.create(party["database"])
            found |= accepted(engine)
            engine.dispose()
        return found

    def proof(self) -> Proven:
        """Prove one disclosure out of the receiving node's log, with a file that needs nothing else."""
        name = "kotka"
        key = VerifierKey.parse(self.network.logs[name]["key"])
        engine = storage.create(self.network.state()["parties"][name]["database"])
        try:
            with engine.connect() as connection:
                row = connection.execute(
                    select(entries.c.idx, entries.c.id)
                    .where(entries.c.type == EntryType.RECEIPT)
                    .order_by(entries.c.idx)
                ).first()
                if row is None:
                    raise StoryError("the log of kotka holds no receipt")
                exported = proofs.export_proofs(connection, {row.idx: None}, log_key=key)
        finally:
            engine.dispose()
        report = verify_export(exported, log_key=key)
        size = report.checkpoint.size if report.checkpoint is not None else 0
        self._check("a receipt is proven to anyone who holds the log's key", report.sound and report.trusted)
        return Proven(name, row.id, row.idx + 1, size, report)

    # -- how the story speaks to the systems ------------------------------------------------------------------------

    def _key(self, case: str) -> str:
        return self.cases[case]["key"]

    def _row(self, case: str) -> int:
        return list(self.cases).index(case) + FIRST_ROW

    def _check(self, promise: str, held: bool, seen: str = "") -> None:
        self.checks.append(Check(promise, bool(held), seen))

    async def _say(self, case: str, kind: str, categories: list[str], to: str = "municipality") -> str:
        record = await self._call(
            "centre",
            "POST",
            "/v1/consents",
            {
                "subject": {"system": MIGRI_CUSTOMER, "value": self._key(case)},
                "kind": kind,
                "given_by": {"kind": "self"},
                "purposes": [f"reception-to-{to}", "service-need-lookup"],
                "recipients": [to],
                "categories": categories,
                "language": "en",
                "evidence": {"form": "demo-form-1"},
            },
            expect=201,
        )
        return str(record["id"])

    async def _order(self, rows: list[int], flow: str, parameters: Mapping[str, str]) -> None:
        order = {"rows": rows, "flow": flow, "key": f"{flow}-{rows[0]}", "parameters": dict(parameters)}
        answer = await self._system("centre", "/hand-over", order, expect=(201,))
        for row, plan in zip(rows, answer["handovers"], strict=True):
            self.plans[f"DEMO-{1001 + row - FIRST_ROW}"] = {**plan, "flow": flow}

    async def _ask(self, who: str, case: str, purpose: str, categories: tuple[str, ...]) -> Asked:
        document = {
            "service": self.network.service("centre", "palvelutarve"),
            "subject": {"system": MIGRI_CUSTOMER, "value": self._key(case)},
            "purpose": purpose,
            "categories": list(categories),
            "user": f"{who}-caseworker-1",
        }
        answer = await self._system(who, "/call", {"method": "POST", "path": "/v1/queries", "json": document})
        body = answer["body"]
        decision = body.get("decision") or {}
        withheld = decision.get("withheld") or []
        pairs = (
            withheld.items()
            if isinstance(withheld, dict)
            else ((refused["category"], refused["code"]) for refused in withheld)
        )
        return Asked(
            who=who,
            person=self._key(case),
            purpose=purpose,
            asked=categories,
            status=answer["status"],
            got=tuple(decision.get("permitted") or ()) if answer["status"] == 200 else (),
            withheld=tuple(pairs),
            problem=str(body.get("title", "")) if answer["status"] != 200 else "",
        )

    def _share(
        self,
        person: str,
        plan: dict[str, Any],
        part: dict[str, Any],
        now: dict[str, Any],
        held: Mapping[str, Mapping[str, dict[str, Any]]],
    ) -> Share:
        name = {"municipality": "kotka", "county": "kymenlaakso"}[part["role"]]
        arrived = held[name].get(plan["id"]) if now["state"] == DeliveryState.ACCEPTED else None
        got = tuple(arrived["categories"]) if arrived is not None else ()
        return Share(
            person=person,
            flow=plan["flow"],
            recipient=name if part["recipient"] else part["role"],
            state=now["problem"] or now["state"],
            got=got,
            bases=tuple(
                sorted({given["basis"] for given in part.get("permitted", ()) if _within(given["category"], got)})
            ),
            withheld=tuple(
                sorted(
                    (refused["category"], refused["code"])
                    for refused in part.get("withheld", ())
                    if refused["category"] not in got
                )
            ),
        )

    def _check_arrivals(self, found: list[Share], held: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
        by = {(item.person, item.recipient): item for item in found}
        ordinary = by[self._key("p10-moves-on"), "kotka"]
        self._check("a municipality receives no health needs without consent", "health-needs" not in ordinary.got)
        self._check(
            "with the person's consent it does", "health-needs" in by[self._key("p01-asylum-adult"), "kotka"].got
        )
        survivor = self._key("p06-torture-survivor")
        self._check(
            "a person keeps health needs from the municipality and permits them to the county",
            "health-needs" not in by[survivor, "kotka"].got and "health-needs" in by[survivor, "kymenlaakso"].got,
        )
        self._check(
            "a county receives no health needs without the person's permission",
            "health-needs" not in by[self._key("p10-moves-on"), "kymenlaakso"].got,
        )
        self._check(
            "nor what is sensitive of everybody who moves: for that a need is evident, or the person consents",
            not {"social-needs", "child-protection", "vulnerability", "finances"}
            & set(by[self._key("p10-moves-on"), "kymenlaakso"].got),
        )
        child = by[self._key("p04-unaccompanied-minor"), "kymenlaakso"]
        self._check(
            "but of a child who came alone it does, by a right of its own (681/2023 87 §)",
            "health-needs" in child.got and "minor-services-county" in child.bases,
        )
        late = by[self._key("p09-withdrawn-consent"), "kotka"]
        self._check(
            "a consent withdrawn before delivery no longer carries anything",
            late.state == DeliveryState.ACCEPTED and not {"health-needs", "social-needs"} & set(late.got),
        )
        pending = [item for item in found if item.person == self._key("p08-pending-permit")]
        self._check("without a final permit nothing moves", all(not share.got for share in pending))
        protected = by[self._key("p07-safety-prohibition"), "kymenlaakso"]
        # The mark travels with the identity.
        self._check(
            "who has a right to the address under a safety prohibition gets it with the mark",
            {"identity", "contact/address"} <= set(by[self._key("p07-safety-prohibition"), "kotka"].got)
            and {"identity", "contact/address"} <= set(protected.got),
        )
        received = [(name, item["handover"]) for name, items in held.items() for item in items.values()]
        accepted = [item for item in found if item.state == DeliveryState.ACCEPTED]
        self._check("each delivery was received once", len(received) == len(set(received)) == len(accepted))

    async def _held(self, party: str) -> list[dict[str, Any]]:
        url = f"http://{LOOPBACK}:{self.network.parties[party].system}/held"
        async with self.session.get(url) as answer:
            found: list[dict[str, Any]] = await answer.json()
            return found

    async def _call(
        self, party: str, method: str, path: str, document: Mapping[str, Any] | None = None, *, expect: int = 200
    ) -> dict[str, Any]:
        answer = await self._system(party, "/call", {"method": method, "path": path, "json": document})
        if answer["status"] != expect:
            raise StoryError(f"{method} {path.partition('?')[0]} at {party} answered {answer['status']}, not {expect}")
        body: dict[str, Any] = answer["body"]
        return body

    async def _system(
        self, party: str, path: str, document: Mapping[str, Any], *, expect: tuple[int, ...] = (200,)
    ) -> dict[str, Any]:
        url = f"http://{LOOPBACK}:{self.network.parties[party].system}{path}"
        async with self.session.post(url, json=document) as answer:
            if answer.status not in expect:
                raise StoryError(f"the system of {party} answered {path} with {answer.status}")
            body: dict[str, Any] = await answer.json()
            return body

    async def _until(self, look: Callable[[], Any], enough: Callable[[Any], Any]) -> Any:
        patience = Patience()
        while True:
            seen = await look()
            if found := enough(seen):
                return found
            if patience.is_over(seen):
                raise StoryError("what was to arrive does not arrive")
            await asyncio.sleep(0.1)


def session() -> ClientSession:
    """The story's own HTTP client. It waits as long as the processes live; whoever tells the story watches these."""
    return ClientSession(timeout=ClientTimeout(total=None))


def grouped(shares: Iterable[Share]) -> list[tuple[Share, list[str]]]:
    """Shares that are alike but for the person, with the persons; in the order in which they first came."""
    groups: dict[tuple[object, ...], tuple[Share, list[str]]] = {}
    for share in shares:
        alike = (share.flow, share.recipient, share.state, share.got, share.bases, share.withheld)
        groups.setdefault(alike, (share, []))[1].append(share.person)
    return list(groups.values())


def _can_arrive(part: Mapping[str, Any]) -> bool:
    """Whether a delivery has somebody to arrive at; who has not joined yet is waited for, beyond the demo."""
    return bool(part["kind"] == DeliveryKind.HANDOVER and part["problem"] != "recipient-unknown")


def _permitted(plan: Mapping[str, Any], role: str) -> set[str]:
    part = next(delivery for delivery in plan["deliveries"] if delivery["role"] == role)
    return {given["category"] for given in part["permitted"]}


def _within(category: str, got: Iterable[str]) -> bool:
    """Whether anything of a permitted category arrived: the whole, or a part of it."""
    return any(part == category or part.startswith(f"{category}/") or category.startswith(f"{part}/") for part in got)
