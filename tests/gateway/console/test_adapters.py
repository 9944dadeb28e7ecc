"""The page of the adapters: the version in use, since when and by whom, and the versions that were."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import insert

from adapters.sdk.versions import Version
from audit.log.entries import micros
from gateway.desk.desk import Desk
from gateway.desk.roles import Role
from gateway.storage.tables import adapter_uses, adapter_versions
from tests.gateway.console.conftest import NOW, World, serving

WORDS = {
    "fi": ("otettu käyttöön", "ei voinut ottaa"),
    "sv": ("tagen i bruk", "kunde inte ta"),
    "en": ("taken into use", "could not take"),
}


def test_page_tells_what_is_in_use_and_what_was_in_each_language(world: World) -> None:
    plan, digests = world.entries["plan"], ("1" * 64, "2" * 64)
    with world.engine.begin() as connection:
        for number, digest in enumerate(digests, 1):
            of = {"name": "harju", "digest": digest, "at": micros(NOW)}
            connection.execute(insert(adapter_versions), {**of, "declared": f"v{number}", "wheel": b""})
            connection.execute(insert(adapter_uses), {**of, "number": number, "entry": plan.id})
    context = replace(world.desk, installed=lambda: (Version("koski", "9", "9" * 64),), not_taken=lambda: ("harju",))
    world.office = replace(world.office, desk=Desk(context))

    with serving(world) as here:
        for role in (Role.OFFICER, Role.OPERATOR):
            visitor = here.enter(role)
            for language, words in WORDS.items():
                page = visitor.get("/adapters", headers={"accept-language": language}).text

                assert all(text in page for text in (*words, "2" * 64, "1" * 12, "v1", "v2", "koski", "9" * 64))
                assert (f'href="/stories/{plan.id}"' in page) is (role is Role.OFFICER), "who may open it finds it"
