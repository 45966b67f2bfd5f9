// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Tidemark.Storage;

/// <summary>MD5 as S3's Content-MD5 wants it: against damage on the way, nothing else. Ids and names never rest on it.</summary>
internal static class TransferMd5
{
#pragma warning disable CA5351 // the protocol's choice; it protects nothing against people
    public static byte[] Of(ReadOnlySpan<byte> content) => MD5.HashData(content);

    public static IncrementalHash Begin() => IncrementalHash.CreateHash(HashAlgorithmName.MD5);
#pragma warning restore CA5351
}
