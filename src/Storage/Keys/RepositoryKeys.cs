// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;

namespace Tidemark.Storage;

/// <summary>
/// The subkeys of docs/format.md section 4 and what is computed with them: ids, and the key of each blob and sealed object.
/// The data keys are those of one key domain; <see cref="In"/> gives those of another. Immutable; safe from any thread.
/// </summary>
internal sealed class RepositoryKeys
{
    public const int KeySize = 32;
    private static readonly byte[] BlobInfo = "tdm1/blob"u8.ToArray();
    private static readonly byte[] ObjectInfo = "tdm1/obj"u8.ToArray();
    private readonly byte[]? _master; // of a full key, or without encryption: the data keys of any domain come from it
    private readonly byte[]? _chunkId; // absent with a maintenance key, as is the next
    private readonly byte[]? _data;
    private readonly byte[] _nodeId;
    private readonly byte[] _meta;
    private readonly byte[] _config;

    public RepositoryKeys(ReadOnlySpan<byte> master, Guid repository, bool encrypted)
    {
        RepositoryBytes = repository.ToByteArray(bigEndian: true);
        IsEncrypted = encrypted;
        _master = master.ToArray();
        _chunkId = Derive(master, "chunk-id");
        _nodeId = Derive(master, "node-id");
        _data = Derive(master, "data");
        _meta = Derive(master, "meta");
        _config = Derive(master, "conf");
    }

    private RepositoryKeys(SlotSecret secret, Guid repository)
    {
        RepositoryBytes = repository.ToByteArray(bigEndian: true);
        IsEncrypted = true;
        Domain = secret.Domain;
        byte[][] keys = [.. secret.Bytes.Chunk(KeySize)];
        (_meta, _nodeId, _config) = (keys[0], keys[1], keys[2]);
        if (secret.Role == KeyRole.Domain)
            (_chunkId, _data) = (keys[3], keys[4]);
    }

    private RepositoryKeys(RepositoryKeys full, string domain)
    {
        (RepositoryBytes, IsEncrypted, Domain) = (full.RepositoryBytes, full.IsEncrypted, domain);
        (_master, _nodeId, _meta, _config) = (full._master, full._nodeId, full._meta, full._config);
        var suffix = domain.Length == 0 ? "" : "/" + domain;
        _chunkId = Derive(_master, "chunk-id" + suffix);
        _data = Derive(_master, "data" + suffix);
    }

    /// <summary>What a slot gives: the master, the three keys of maintenance, or those and a domain's.</summary>
    public static RepositoryKeys Of(SlotSecret secret, Guid repository) => secret.Role == KeyRole.Full
        ? new RepositoryKeys(secret.Bytes, repository, encrypted: true)
        : new RepositoryKeys(secret, repository);

    /// <summary>The key domain whose chunks these keys name and open; empty for the one without a name.</summary>
    public string Domain { get; } = "";

    /// <summary>What the key allows.</summary>
    public KeyRole Role => _master is not null ? KeyRole.Full : ReadsData ? KeyRole.Domain : KeyRole.Maintenance;

    /// <summary>The same with the data keys of a domain.</summary>
    /// <exception cref="KeyRoleException">The key opens another domain only, or none.</exception>
    public RepositoryKeys In(string domain) =>
        domain == Domain ? this
        : _master is not null ? new RepositoryKeys(this, domain)
        : ReadsData ? throw new KeyRoleException(Domain, domain)
        : throw new KeyRoleException();

    public bool IsEncrypted { get; }

    /// <exception cref="KeyRoleException">The key is one of maintenance.</exception>
    public void RequireData()
    {
        if (!ReadsData)
            throw new KeyRoleException();
    }

    /// <summary>Whether chunks of <see cref="Domain"/> can be opened and named: not with a maintenance key.</summary>
    public bool ReadsData => _data is not null;

    /// <summary>K_meta, K_node-id, K_conf: what a maintenance slot wraps.</summary>
    public byte[] MaintenanceSecret => [.. _meta, .. _nodeId, .. _config];

    /// <summary>What a slot of role domain wraps.</summary>
    /// <exception cref="KeyRoleException">The key is one of maintenance.</exception>
    public byte[] DomainSecret
    {
        get
        {
            RequireData();
            return [.. MaintenanceSecret, .. _chunkId!, .. _data!];
        }
    }

    /// <summary>The repository id's 16 bytes.</summary>
    public byte[] RepositoryBytes { get; }

    /// <summary>Id of a whole, padded chunk.</summary>
    public BlobId ChunkId(ReadOnlySpan<byte> chunk) => Hash(_chunkId ?? throw new KeyRoleException(), chunk);

    /// <summary>Id of a node's identity bytes, or of a pack's contents.</summary>
    public BlobId NodeId(ReadOnlySpan<byte> identity) => Hash(_nodeId, identity);

    public void ConfigMac(ReadOnlySpan<byte> line, Span<byte> mac) => HMACSHA256.HashData(_config, line, mac);

    /// <summary>The key that seals one blob: HKDF-Expand to one block, which is a single HMAC.</summary>
    public void BlobKey(BlobKind kind, in BlobId id, Span<byte> key)
    {
        Span<byte> info = stackalloc byte[BlobInfo.Length + BlobId.Size + 1];
        BlobInfo.CopyTo(info);
        BlobId.AsSpan(in id).CopyTo(info[BlobInfo.Length..]);
        info[^1] = 1;
        HMACSHA256.HashData(kind == BlobKind.Chunk ? _data ?? throw new KeyRoleException() : _meta, info, key);
    }

    /// <summary>The key that seals the object at <paramref name="path"/>.</summary>
    public void ObjectKey(string path, Span<byte> key)
    {
        byte[] info = [.. ObjectInfo, .. Encoding.UTF8.GetBytes(path)];
        HKDF.Expand(HashAlgorithmName.SHA256, _meta, key, info);
    }

    private static BlobId Hash(byte[] key, ReadOnlySpan<byte> bytes)
    {
        BlobId id = default;
        HMACSHA256.HashData(key, bytes, id);
        return id;
    }

    private byte[] Derive(ReadOnlySpan<byte> master, string purpose)
    {
        var key = new byte[KeySize];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, master, key, RepositoryBytes, Encoding.UTF8.GetBytes("tdm1/" + purpose));
        return key;
    }
}
