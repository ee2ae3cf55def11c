import pytest

from sparsam.apiserver.authentication import ANONYMOUS, Authenticator, StaticTokens, user_of_subject
from sparsam.errors import Unauthorized


def test_a_certificate_names_user_and_groups():
    subject = ((("organizationName", "g1"),), (("organizationName", "g2"),), (("commonName", "alice"),))
    user = user_of_subject(subject)
    assert user.name == "alice"
    assert user.groups == ("g1", "g2", "system:authenticated")


@pytest.mark.parametrize("subject", [None, (), ((("organizationName", "g"),),)])
def test_a_certificate_without_a_name_is_nobody(subject):
    assert user_of_subject(subject) is None


async def test_no_credentials_are_anonymous():
    assert await Authenticator(()).authenticate("", None) is ANONYMOUS


async def test_a_listed_token_is_its_user(tmp_path):
    path = tmp_path / "tokens"
    path.write_text('secret,bob,7,"g1,g2"\nplain,carol,8\n')
    authenticator = Authenticator((StaticTokens(path),))
    bob = await authenticator.authenticate("Bearer secret", None)
    assert (bob.name, bob.uid, bob.groups) == ("bob", "7", ("g1", "g2", "system:authenticated"))
    assert (await authenticator.authenticate("bearer plain", None)).name == "carol"


async def test_an_unknown_token_is_refused():
    with pytest.raises(Unauthorized):
        await Authenticator(()).authenticate("Bearer what", None)


async def test_a_certificate_stands_when_the_token_is_unknown():
    user = user_of_subject(((("commonName", "alice"),),))
    assert await Authenticator(()).authenticate("Bearer what", user) is user
