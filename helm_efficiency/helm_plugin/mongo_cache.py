"""Read a MongoDB request cache, through HELM's own store class."""

from helm.common.optional_dependencies import OptionalDependencyNotInstalled

from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.errors import InputError


def add_mongo(caches: RequestCaches, uri: str, collection: str) -> None:
    """Add one collection of a MongoDB cache.

    Raises:
        InputError: pymongo is not installed, or the database does not answer.
    """
    try:
        from helm.common.mongo_key_value_store import MongoKeyValueStore
    except OptionalDependencyNotInstalled as error:
        raise InputError("MongoDB caches need pymongo: pip install 'crfm-helm[mongo]'") from error
    from pymongo.errors import PyMongoError

    try:
        with MongoKeyValueStore(uri, collection) as store:
            caches.add_pairs(store.get_all())
    except PyMongoError as error:
        raise InputError(f"{collection}: the MongoDB cache cannot be read ({error}).") from error
