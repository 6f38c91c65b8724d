"""A bundle whose files can be changed."""

import hashlib
import json
import zipfile

from safetensors.torch import load, save

FILES = ("manifest.json", "pipeline.json", "arrays.safetensors", "README.md")


class Bundle:
    """Bundle in a folder whose files can be changed and sealed with new checksums."""

    def __init__(self, path):
        self.path = path

    def __getitem__(self, name):
        return (self.path / name).read_bytes()

    def __setitem__(self, name, content):
        (self.path / name).write_bytes(content)

    def change(self, name, function):
        """Change the JSON of a file by a function in place."""
        value = json.loads(self[name])
        function(value)
        self[name] = json.dumps(value).encode()
        return self.seal()

    def arrays(self, function, metadata=None):
        """Change the tensors by a function in place."""
        header = self["arrays.safetensors"]
        size = int.from_bytes(header[:8], "little")
        own = json.loads(header[8 : 8 + size])["__metadata__"]
        tensors = load(header)
        function(tensors)
        self["arrays.safetensors"] = save(tensors, own if metadata is None else metadata)
        return self.seal()

    def seal(self):
        """Let the manifest state the checksums of the files as they are."""
        manifest = json.loads(self["manifest.json"])
        for name in FILES[1:]:
            content = self[name]
            digest = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            manifest["files"][name] = digest
        self["manifest.json"] = json.dumps(manifest).encode()
        return self

    def zipped(self, path, names=FILES, compress=zipfile.ZIP_STORED, **attributes):
        """The same as a zip file."""
        with zipfile.ZipFile(path, "w", compress) as archive:
            for name in names:
                member = zipfile.ZipInfo(name)
                member.compress_type = compress
                for key, value in attributes.items():
                    setattr(member, key, value)
                archive.writestr(member, self[name])
        return path
